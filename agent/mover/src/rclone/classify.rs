//! The failure table: from rclone's exit code and messages to what is wrong. Pure.

use crate::rclone::log::Message;
use crate::rclone::redaction::Redaction;
use crate::store::Class;

/// The first row whose text occurs (in lower case) decides: from the most specific text to the least.
const TABLE: &[(Class, &[&str])] = &[
    (Class::BucketMissing, &["nosuchbucket", "bucket does not exist", "bucket not found"]),
    (
        Class::Configuration,
        &[
            "didn't find section in config",
            "didn't find backend",
            "couldn't find type",
            "unknown command",
            "unknown flag",
            "couldn't decrypt configuration",
            "unable to decrypt configuration",
            // No url, or one without https://
            "unsupported protocol scheme",
            // sftp without a password, a key or an agent.
            "ssh_auth_sock not-specified",
            "private key should be a pem",
        ],
    ),
    // A file system's words, and S3's.
    (Class::NameTooLong, &["file name too long", "filename too long", "keytoolong"]),
    (
        Class::Throttled,
        &[
            "slowdown",
            "too many requests",
            "toomanyrequests",
            "requestlimitexceeded",
            "throttl",
            "statuscode: 429",
            "429 too many",
            "rate limit",
            "statuscode: 503",
            "503 service unavailable",
            "serviceunavailable",
        ],
    ),
    (
        Class::AccessDenied,
        &[
            "accessdenied",
            "access denied",
            "invalidaccesskeyid",
            // versitygw, whose answer is 404.
            "usernotfound",
            "signaturedoesnotmatch",
            "statuscode: 403",
            "statuscode: 401",
            "403 forbidden",
            "401 unauthorized",
            "expiredtoken",
            "invalidtoken",
            "unable to authenticate",
            "authorizationheadermalformed",
            "requesttimetooskewed",
            "no credential",
        ],
    ),
    (
        Class::NoSpace,
        &[
            "no space left",
            "file too big for remaining disk space",
            "disk quota exceeded",
            "quotaexceeded",
            "storage full",
            "insufficient storage",
            "507 ",
        ],
    ),
    (Class::SourceChanging, &["source file is being updated", "can't copy - source file", "corrupted on transfer"]),
    (
        Class::Unreachable,
        &[
            "connection refused",
            "no such host",
            "i/o timeout",
            "connection reset",
            "connection timed out",
            "network is unreachable",
            "no route to host",
            "context deadline exceeded",
            "tls handshake",
            "x509:",
            "unexpected eof",
            "server misbehaving",
            "broken pipe",
            "statuscode: 5",
            "502 bad gateway",
            "504 gateway",
            "500 internal",
            "internalerror",
            "request send failed",
            "deserialization failed",
            "http: server gave http response",
            "couldn't connect",
            "dial tcp",
            ": eof",
        ],
    ),
    // Before what a file of the volume may say: a missing key file or helper program is no missing object. After what a server
    // says, because some backends connect while they are set up.
    (Class::Configuration, &["failed to create file system for", "failed to read --", "failed to load --"]),
    (
        Class::VolumeUnreadable,
        &["permission denied", "input/output error", "read-only file system", "operation not permitted", "stale file handle"],
    ),
    // One object's, so it comes after what holds for all of them.
    (
        Class::Undecipherable,
        &[
            "failed to authenticate decrypted block",
            "file is too short to be encrypted",
            "file has truncated block header",
            "not an encrypted file",
            "gzip: invalid",
            "magic number mismatch",
        ],
    ),
    (
        Class::Obstructed,
        // versitygw and SeaweedFS, MinIO.
        &[
            "existingobjectisdirectory",
            "existingobjectisfile",
            "objectparentisfile",
            "xminioparentisobject",
            "xminioobjectexistsasdirectory",
        ],
    ),
    (Class::NotFound, &["object not found", "directory not found", "nosuchkey"]),
    // A file of the volume that went away while rclone was about to read it.
    (Class::SourceChanging, &["no such file or directory"]),
];

/// What happened, and a sentence about it, without the secrets that rclone may quote.
pub(super) fn classify(code: Option<i32>, messages: &[Message], redaction: &Redaction) -> (Class, String) {
    let said = |message: Option<&Message>| said(message, redaction);
    let Some(code) = code else {
        return (Class::Killed, format!("rclone was killed, perhaps for want of memory{}", said(messages.last())));
    };
    match (recognize(messages), code) {
        (Some((class, message)), _) => (class, format!("rclone exit {code}{}", said(Some(message)))),
        (None, 3 | 4) => (Class::NotFound, format!("rclone exit {code}{}", said(messages.first()))),
        (None, 5) => (Class::Unreachable, format!("rclone exit {code}{}", said(messages.first()))),
        (None, 137 | 143) => (Class::Killed, format!("rclone exit {code}{}", said(messages.last()))),
        (None, _) => (Class::Other, format!("rclone exit {code}{}", said(messages.first()))),
    }
}

/// What the messages say, and which of them does. An object's name could have any text in it, and says nothing.
pub(super) fn recognize(messages: &[Message]) -> Option<(Class, &Message)> {
    let texts: Vec<String> = messages.iter().map(|message| message.nameless().to_lowercase()).collect();
    TABLE.iter().find_map(|(class, words)| {
        let telling = texts.iter().position(|text| words.iter().any(|word| text.contains(word)));
        telling.and_then(|at| messages.get(at)).map(|message| (*class, message))
    })
}

/// Whether an error is that the remote does not serve, and not the fault of the file that it is about.
pub(super) fn is_trouble(error: &Message) -> bool {
    matches!(recognize(std::slice::from_ref(error)), Some((Class::Unreachable | Class::Throttled, _)))
}

fn said(message: Option<&Message>, redaction: &Redaction) -> String {
    // Before it is shortened: half a secret would not be recognized.
    message.map_or_else(String::new, |message| format!(": {}", shorten(&redaction.apply(&message.to_string()))))
}

/// Messages repeat request and host identities; the end of a long one has the cause.
pub(super) fn shorten(message: &str) -> String {
    const MOST: usize = 600;
    let message = message.trim();
    let chars = message.chars().count();
    if chars <= MOST {
        return message.to_owned();
    }
    let head: String = message.chars().take(MOST / 3).collect();
    let tail: String = message.chars().skip(chars - MOST * 2 / 3).collect();
    format!("{head} … {tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        1,
        "operation error S3: PutObject, https response error StatusCode: 404, api error NoSuchBucket: The specified bucket does not exist",
        Class::BucketMissing
    )]
    #[case(
        1,
        "operation error S3: ListObjectsV2, https response error StatusCode: 403, api error InvalidAccessKeyId: The Access Key",
        Class::AccessDenied
    )]
    #[case(
        1,
        "operation error S3: ListBuckets, https response error StatusCode: 404, api error XAdminUserNotFound: No user exists with the provided access key ID.",
        Class::AccessDenied
    )]
    #[case(1, "https response error StatusCode: 503, api error SlowDown: please", Class::Throttled)]
    #[case(
        1,
        "Failed to cat: exceeded maximum number of attempts, 3, https response error StatusCode: 0, request send failed, Get: dial tcp 127.0.0.1:1: connect: connection refused",
        Class::Unreachable
    )]
    #[case(4, "commit.json: Failed to open: object not found", Class::NotFound)]
    #[case(3, "error listing: directory not found", Class::NotFound)]
    #[case(
        1,
        "hollow: Failed to copy: operation error S3: PutObject, https response error StatusCode: 409, api error ExistingObjectIsDirectory: Existing Object is a directory.",
        Class::Obstructed
    )]
    #[case(1, "a: Failed to copy: preallocate: file too big for remaining disk space", Class::NoSpace)]
    #[case(1, "a: Failed to copy: can't copy - source file is being updated (size changed from 1 to 2)", Class::SourceChanging)]
    #[case(1, "a: Failed to copy: open /v/a: permission denied", Class::VolumeUnreadable)]
    #[case(1, "CRITICAL: Failed to create file system for \"x:\": didn't find section in config file", Class::Configuration)]
    #[case(
        1,
        "CRITICAL: Failed to create file system for \"x:\": NewFs: couldn't connect SSH: ssh: handshake failed: ssh: unable to authenticate, attempted methods [none password]",
        Class::AccessDenied
    )]
    #[case(
        1,
        "CRITICAL: Failed to create file system for \"x:\": NewFs: couldn't connect SSH: dial tcp 127.0.0.1:1: connect: connection refused",
        Class::Unreachable
    )]
    #[case(1, "CRITICAL: Failed to create file system for \"x:\": no bucket in here", Class::Configuration)]
    #[case(1, "commit.json: Failed to copy: Propfind \"b/commit.json\": unsupported protocol scheme \"\"", Class::Configuration)]
    #[case(
        1,
        "CRITICAL: Failed to create file system for \"x:\": couldn't connect to ssh-agent: SSH agent requested but SSH_AUTH_SOCK not-specified",
        Class::Configuration
    )]
    #[case(1, "Failed to lsf: oauth2: private key should be a PEM or plain PKCS1 or PKCS8; parse error: asn1", Class::Configuration)]
    #[case(1, "f: Failed to copy: failed to authenticate decrypted block - bad password?", Class::Undecipherable)]
    #[case(1, "f: Failed to open: file is too short to be encrypted", Class::Undecipherable)]
    #[case(5, "something to retry", Class::Unreachable)]
    #[case(1, "something else", Class::Other)]
    fn each_row(#[case] code: i32, #[case] message: &str, #[case] class: Class) {
        let messages = ["attempt 1/1 failed", message].map(|text| Message { object: None, text: text.to_owned() });
        let (found, words) = classify(Some(code), &messages, &Redaction::default());
        assert_eq!(found, class, "{words}");
    }

    #[rstest]
    #[case("throttle.log", "Failed to copy: can't copy - source file is being updated", Class::SourceChanging)]
    #[case("507 Main.log", "Failed to copy: open /bucket/507 Main.log: permission denied", Class::VolumeUnreadable)]
    #[case("no space left", "open /bucket/no space left: file exists", Class::Other)]
    fn the_name_of_an_object_says_nothing(#[case] object: &str, #[case] text: &str, #[case] class: Class) {
        let message = Message { object: Some(object.to_owned()), text: text.to_owned() };
        let (found, said) = classify(Some(1), &[message], &Redaction::default());
        assert!(found == class && said.contains(object), "{found:?} {said}");
    }

    #[test]
    fn a_killed_child_is_not_a_failed_one() {
        assert_eq!(classify(None, &[], &Redaction::default()).0, Class::Killed);
    }
}
