//! rclone's options: those we set unless the user does, and those a user's Secret must not set.
//!
//! Imports nothing of this crate.

/// Our tuning, measured to work within 128 MiB and to fail fast, with the option of the remote that overrides it.
pub(crate) const TUNING: [(&str, &str, &str); 12] = [
    ("RCLONE_TRANSFERS", "", "4"),
    ("RCLONE_CHECKERS", "", "8"),
    ("RCLONE_BUFFER_SIZE", "", "1M"),
    ("RCLONE_MULTI_THREAD_STREAMS", "", "2"),
    ("RCLONE_RETRIES", "", "1"),
    ("RCLONE_LOW_LEVEL_RETRIES", "", "3"),
    ("RCLONE_CONTIMEOUT", "", "5s"),
    ("RCLONE_TIMEOUT", "", "20s"),
    ("RCLONE_S3_UPLOAD_CONCURRENCY", "upload_concurrency", "2"),
    ("RCLONE_S3_CHUNK_SIZE", "chunk_size", "5M"),
    // Ours is sha256; another pass over every large file would only be read again.
    ("RCLONE_S3_DISABLE_CHECKSUM", "disable_checksum", "true"),
    ("GOMEMLIMIT", "", "80MiB"),
];

/// Options that change which files a transfer covers, what it does to them, or what reaches our log parser.
const REFUSED: &[&str] = &[
    "DRY_RUN",
    "INTERACTIVE",
    "CONFIG",
    "CONFIG_DIR",
    "UPDATE",
    "SIZE_ONLY",
    "IMMUTABLE",
    "INPLACE",
    "PARTIAL_SUFFIX",
    "LINKS",
    "COPY_LINKS",
    "SKIP_LINKS",
    "NAME_TRANSFORM",
    "BACKUP_DIR",
    "COMPARE_DEST",
    "COPY_DEST",
    "HASH_FILTER",
    "CUTOFF_MODE",
    "FIX_CASE",
    "NO_TRAVERSE",
    "NO_CHECK_DEST",
    "NO_UNICODE_NORMALIZATION",
    "ERROR_ON_NO_TRANSFER",
    "TRACK_RENAMES",
    "USE_JSON_LOG",
    "QUIET",
    "VERBOSE",
    "PROGRESS",
    "DEFAULT_TIME",
    "SYSLOG",
    "HUMAN_READABLE",
    "S3_VERSIONS",
    "S3_VERSION_AT",
    "S3_VERSION_DELETED",
    "S3_DECOMPRESS",
    "S3_DIRECTORY_MARKERS",
    "S3_NO_HEAD_OBJECT",
    "TEMP_DIR",
    "CACHE_DIR",
];
const REFUSED_PREFIXES: &[&str] = &[
    "FILTER",
    "INCLUDE",
    "EXCLUDE",
    "FILES_FROM",
    "MIN_",
    "MAX_AGE",
    "MAX_SIZE",
    "MAX_DEPTH",
    "MAX_DELETE",
    "MAX_TRANSFER",
    "MAX_DURATION",
    "IGNORE_",
    "DELETE_",
    "SUFFIX",
    "METADATA",
    "RC",
    "LOG_",
    "STATS",
    "DUMP",
    "LOCAL_",
    "TRACK_RENAMES_",
    "MULTI_THREAD_CHUNK",
    "OVERRIDE",
];

/// Whether a Secret must not set this variable.
pub(crate) fn is_refused(name: &str) -> bool {
    let option = name.strip_prefix("RCLONE_").unwrap_or(name);
    // RCLONE_CONFIG_<REMOTE>_<OPTION> defines a remote and RCLONE_CONFIG_PASS opens the file: both are how, not what.
    if option.starts_with("CONFIG_") && option != "CONFIG_DIR" {
        return false;
    }
    REFUSED.contains(&option)
        || REFUSED_PREFIXES.iter().any(|prefix| match prefix.strip_suffix('_') {
            Some(_) => option.starts_with(prefix),
            None => option == *prefix || option.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_')),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("RCLONE_TRANSFERS", false)]
    #[case("RCLONE_BWLIMIT", false)]
    #[case("RCLONE_S3_ENDPOINT", false)]
    #[case("RCLONE_CONFIG_X_TYPE", false)]
    #[case("RCLONE_CONFIG_PASS", false)]
    #[case("RCLONE_MAX_BUFFER_MEMORY", false)]
    #[case("RCLONE_INCLUDE_FROM", true)]
    #[case("RCLONE_EXCLUDE", true)]
    #[case("RCLONE_MIN_AGE", true)]
    #[case("RCLONE_IGNORE_EXISTING", true)]
    #[case("RCLONE_RC_ADDR", true)]
    #[case("RCLONE_CONFIG", true)]
    #[case("RCLONE_CONFIG_DIR", true)]
    #[case("RCLONE_DUMP", true)]
    fn what_changes_a_transfers_meaning_is_refused(#[case] name: &str, #[case] refused: bool) {
        assert_eq!(is_refused(name), refused);
    }
}
