use super::*;
use assert_fs::TempDir;
use rstest::rstest;

const CONF: &str = "# c\n[s3]\ntype = s3\nchunk_size = 16M\n\n[other]\ntype=sftp\n[bad]\nx = y\n";

fn mount(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

fn read(files: &[(&str, &str)], section: &str) -> Result<Environment> {
    from_mount(mount(files).path(), Some("creds"), section, &[("HOME".into(), "/root".into()), ("TMPDIR".into(), "/t".into())])
}

#[test]
fn a_missing_or_empty_secret_is_named() {
    let missing = from_mount(Path::new("/nonexistent"), Some("creds"), "s3", &[]).unwrap_err();
    assert_eq!(missing.reason, Reason::SecretMissing);
    assert!(missing.message.contains("creds"));
    assert_eq!(read(&[], "s3").unwrap_err().reason, Reason::SecretMissing);
}

#[rstest]
#[case(&[("other.conf", "x"), ("a", "b")], "s3", "a, other.conf")]
#[case(&[(KEY, CONF)], "s4", "it has [bad], [other], [s3]")]
#[case(&[(KEY, "")], "s4", "it has none")]
#[case(&[(KEY, CONF)], "bad", "without a type")]
#[case(&[(KEY, CONF), ("RCLONE_DRY_RUN", "true"), ("RCLONE_MAX_SIZE", "1k")], "s3", "RCLONE_DRY_RUN, RCLONE_MAX_SIZE")]
fn an_unusable_secret_is_reported_precisely(#[case] files: &[(&str, &str)], #[case] section: &str, #[case] words: &str) {
    let failure = read(files, section).unwrap_err();
    assert_eq!(failure.reason, Reason::SecretInvalid);
    assert!(failure.message.contains(words) && failure.message.contains("creds"), "{failure}");
}

#[rstest]
#[case("global.dry_run")]
#[case("override.dry_run")]
#[case("global.ignore_existing")]
#[case("override.immutable")]
#[case("version_at")]
#[case("directory_markers")]
fn what_a_variable_must_not_set_a_section_must_not_either(#[case] option: &str) {
    let failure = read(&[(KEY, &format!("[s3]\ntype = s3\n{option} = true\nglobal.transfers = 2\n"))], "s3").unwrap_err();
    assert_eq!(failure.reason, Reason::SecretInvalid);
    assert!(failure.message.contains(option) && !failure.message.contains("transfers"), "{failure}");
    let name = format!("RCLONE_CONFIG_S3_{}", option.to_uppercase());
    let failure = read(&[(KEY, CONF), (&name, "true")], "s3").unwrap_err();
    assert!(failure.reason == Reason::SecretInvalid && failure.message.contains(&name), "{failure}");
}

#[rstest]
#[case("type = alias\nremote = dir,global.dry_run=true:x", "global.dry_run in option remote of section [s3]")]
#[case("type = union\nupstreams = dir:a dir,version_at=2020-01-01:b", "version_at in option upstreams of section [s3]")]
fn what_a_section_must_not_set_the_way_to_it_must_not_either(#[case] section: &str, #[case] words: &str) {
    let failure = read(&[(KEY, &format!("[dir]\ntype = local\n[s3]\n{section}\n"))], "s3").unwrap_err();
    assert!(failure.reason == Reason::SecretInvalid && failure.message.contains(words), "{failure}");
    let value = section.rsplit(" = ").next().unwrap();
    let failure = read(&[(KEY, CONF), ("RCLONE_CONFIG_S3_REMOTE", value)], "s3").unwrap_err();
    assert!(failure.reason == Reason::SecretInvalid && failure.message.contains("variable RCLONE_CONFIG_S3_REMOTE"), "{failure}");
}

/// Its secrets could not be kept out of messages, nor its options be checked.
#[rstest]
#[case("# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nAbC=\n")]
#[case(" RCLONE_ENCRYPT_V1:\nAbC\n")]
#[case("\u{feff}RCLONE_ENCRYPT_V0:\nAbC\n")]
fn an_encrypted_configuration_is_refused(#[case] conf: &str) {
    for vars in [vec![], vec![("RCLONE_CONFIG_S3_TYPE", "s3")]] {
        let files: Vec<_> = [(KEY, conf), ("RCLONE_CONFIG_PASS", "x")].into_iter().chain(vars).collect();
        let failure = read(&files, "s3").unwrap_err();
        assert!(failure.reason == Reason::SecretInvalid && failure.message.contains("encrypted rclone.conf"), "{failure}");
    }
}

#[test]
fn a_line_that_rclone_would_quote_is_named_by_its_number() {
    let failure = read(&[(KEY, "[s3]\ntype = s3\nkey_pem = -----BEGIN\nHUNTER2HUNTER2\n")], "s3").unwrap_err();
    assert_eq!(failure.reason, Reason::SecretInvalid);
    assert!(failure.message.contains("line 4") && !failure.message.contains("HUNTER2"), "{failure}");
}

#[test]
fn an_option_of_another_section_is_refused_too() {
    let conf = "[al]\ntype = alias\nremote = dir:x\n[dir]\ntype = local\nglobal.dry_run = true\n";
    let failure = read(&[(KEY, conf)], "al").unwrap_err();
    assert_eq!(failure.reason, Reason::SecretInvalid);
    assert!(failure.message.contains("global.dry_run in section [dir]"), "{failure}");
}

#[rstest]
#[case("ssh", "/missing/helper -p HUNTER2 host", "start process: fork/exec /missing/helper: no such file or directory")]
#[case("ssh", "helper -p HUNTER2 host", "start process: exec: \"helper\": executable file not found in $PATH")]
#[case("bearer_token_command", "/bin/false HUNTER2", "failed to get bearer token using \"/bin/false HUNTER2\": exit status 1")]
#[case("key_file", "/etc/id", "open /etc/id: no such file or directory")]
fn a_message_leads_to_the_option(#[case] name: &str, #[case] value: &str, #[case] message: &str) {
    let variable = format!("RCLONE_CONFIG_S3_{}", name.to_uppercase());
    let conf = format!("[s3]\ntype = sftp\n{name} = {value}\n");
    for (files, expected) in
        [(vec![(KEY, conf.as_str())], format!("option {name}")), (vec![(KEY, CONF), (&variable, value)], format!("variable {variable}"))]
    {
        let env = read(&files, "s3").unwrap();
        let message = env.redact(message);
        assert!(!message.contains("HUNTER2"), "{message}");
        assert!(env.options_named_in(&message).contains(&expected), "{message}: {:?}", env.options_named_in(&message));
    }
}

#[test]
fn no_value_of_any_section_or_variable_passes() {
    let conf = "[al]\ntype = alias\nremote = s3:b\n[s3]\ntype = s3\nsecret_access_key = HUNTER2a\nregion = eu-central-1\n";
    let env = read(&[(KEY, conf), ("RCLONE_CONFIG_PASS", "HUNTER2b\n"), ("RCLONE_S3_REGION", "us-east-1")], "al").unwrap();
    assert_eq!(
        env.redact("HUNTER2a HUNTER2b eu-central-1 us-east-1 type"),
        "<value of secret_access_key> <value of RCLONE_CONFIG_PASS> eu-central-1 us-east-1 type"
    );
    assert!(!format!("{env:?}").contains("HUNTER2"));
}

#[test]
fn a_variable_may_tell_the_type() {
    let env = read(&[(KEY, "[other]\ntype = local\n"), ("RCLONE_CONFIG_MY-S3_TYPE", "s3\n")], "my-s3").unwrap();
    assert_eq!(env.backend.as_deref(), Some("s3"));
}

#[test]
fn tuning_of_the_user_wins_and_nothing_else_leaks_in() {
    let env = read(&[(KEY, CONF), ("RCLONE_TRANSFERS", "9\n"), ("ca.crt", "x")], "s3").unwrap().tuned(None, Direction::Pull);
    let var = |name: &str| env.vars.get(&OsString::from(name)).map(|v| v.to_str().unwrap().to_owned());
    assert_eq!(var("RCLONE_TRANSFERS").as_deref(), Some("9"));
    assert_eq!(var("RCLONE_S3_CHUNK_SIZE"), None, "set in the section");
    assert_eq!(var("RCLONE_S3_UPLOAD_CONCURRENCY").as_deref(), Some("2"));
    assert_eq!((var("HOME"), var("TMPDIR").as_deref()), (None, Some("/t")));
    assert_eq!(env.backend.as_deref(), Some("s3"));
}
