//! rclone's options: those we set unless the user does, and those a user's Secret must not set.

/// Where a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the remote.
    Push,
    /// From it.
    Pull,
}

/// One setting of ours: the variable, the option of the remote that overrides it (or nothing), the value.
pub(crate) type Setting = (&'static str, &'static str, String);

/// Below this, two transfers with the least of buffers; measured to work in 48 MiB.
const SMALL: u64 = 96 << 20;
/// From here on, more transfers at a time. In between, and where no limit is known, what was measured to work in 128 MiB.
const AMPLE: u64 = 256 << 20;

/// How often rclone tries again what a server refuses; backends have retries of their own within each.
pub(crate) const RETRIES: &str = "3";
/// How long a server that says nothing is waited for.
pub(crate) const TIMEOUT: &str = "20s";

/// Our tuning for a mover that may use `limit` bytes of memory, rclone included: it fits, and it fails fast.
pub(crate) fn tuning(limit: Option<u64>, direction: Direction) -> Vec<Setting> {
    let (transfers, checkers, buffer, parts, heap) = match limit {
        Some(limit) if limit < SMALL => ("2", "4", "0", "1", "40MiB".to_owned()),
        // The rest is for the mover itself, for rclone's code and for the page cache.
        Some(limit) if limit >= AMPLE => ("8", "8", "1M", "2", format!("{}MiB", (limit >> 20) / 2)),
        _ => ("4", "8", "1M", "2", "80MiB".to_owned()),
    };
    // With several streams rclone reads a file that it uploads in pieces side by side, and all of it twice where memory is short.
    // With one it sends parts of the same stream at a time.
    let streams = if direction == Direction::Push { "0" } else { "2" };
    let fixed = |name, option, value: &str| (name, option, value.to_owned());
    vec![
        fixed("RCLONE_TRANSFERS", "", transfers),
        fixed("RCLONE_CHECKERS", "", checkers),
        fixed("RCLONE_BUFFER_SIZE", "", buffer),
        fixed("RCLONE_MULTI_THREAD_STREAMS", "", streams),
        fixed("RCLONE_LOW_LEVEL_RETRIES", "", RETRIES),
        fixed("RCLONE_CONTIMEOUT", "", "5s"),
        fixed("RCLONE_TIMEOUT", "", TIMEOUT),
        fixed("RCLONE_S3_UPLOAD_CONCURRENCY", "upload_concurrency", parts),
        fixed("RCLONE_S3_CHUNK_SIZE", "chunk_size", "5M"),
        // Ours is sha256; another pass over every large file would only be read again.
        fixed("RCLONE_S3_DISABLE_CHECKSUM", "disable_checksum", "true"),
        fixed("GOMEMLIMIT", "", &heap),
    ]
}

/// Set whatever the user has set. Each retry counts the files again that it transfers again, and the count is what shows that rclone left
/// none out; the agent retries. A password is never asked for: the error that rclone has instead says which variable it needs.
pub(crate) const FORCED: [(&str, &str); 2] = [("RCLONE_RETRIES", "1"), ("RCLONE_ASK_PASSWORD", "false")];

/// Without a section that asks for the credentials of the machine, rclone does not look for the service that may have some.
pub(crate) const NO_METADATA: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");
/// The option of a section that asks for them.
pub(crate) const ASKS_METADATA: &str = "env_auth";

/// Flags of the commands that the mover runs, beyond rclone's global ones: each changes what a command does or prints.
pub(crate) const OF_COMMANDS: &[&str] = &[
    "ABSOLUTE",
    "BASE64",
    "CHECKFILE",
    "COMBINED",
    "COUNT",
    "CREATE_EMPTY_SRC_DIRS",
    "CSV",
    "DEST_AFTER",
    "DIFFER",
    "DIR_SLASH",
    "DIRS_ONLY",
    "DISCARD",
    "DOWNLOAD",
    "ENCRYPTED",
    "ERROR",
    "FILES_ONLY",
    "FORMAT",
    "HASH",
    "HASH_TYPE",
    "HEAD",
    "JSON",
    "LEAVE_ROOT",
    "MATCH",
    "MISSING_ON_DST",
    "MISSING_ON_SRC",
    "NO_MIMETYPE",
    "NO_MODTIME",
    "OFFSET",
    "OPTION",
    "ORIGINAL",
    "OUTPUT_FILE",
    "RECURSIVE",
    "RMDIRS",
    "SEPARATOR",
    "STAT",
    "TAIL",
    "TIMEFORMAT",
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
    "DISABLE",
    "SYSLOG",
    "HUMAN_READABLE",
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
    "METRICS",
    "CPUPROFILE",
    "MEMPROFILE",
    "RC",
    "LOG_",
    "STATS",
    "DUMP",
    "LOCAL_",
    "TRACK_RENAMES_",
    "MULTI_THREAD_CHUNK",
    "OVERRIDE",
];

/// Options of backends, whichever has them: they show other objects, or other content, than what was stored last.
const REFUSED_OF_BACKENDS: &[&str] =
    &["decompress", "directory_markers", "no_head_object", "trashed_only", "version_at", "version_deleted", "versions"];

/// What rclone's options begin with where a section sets them, for that remote alone or for the whole process.
const PER_REMOTE: [&str; 2] = ["global.", "override."];

/// Options that name a remote.
const LEADING: [&str; 2] = ["remote", "upstreams"];

/// Whether a section of the configuration must not set this option.
pub(crate) fn is_refused_option(name: &str) -> bool {
    REFUSED_OF_BACKENDS.contains(&name)
        || PER_REMOTE
            .iter()
            .filter_map(|prefix| name.strip_prefix(prefix))
            .map(|option| format!("RCLONE_{}", option.to_uppercase().replace('-', "_")))
            .any(|name| is_refused(&name) || FORCED.iter().any(|(forced, _)| *forced == name))
}

/// The first option in the value of another one, `of`, that must not be set: where a section leads to another one, or to a backend, options may
/// follow its name, as in `remote = dir,global.dry_run=true:path`. Those of backends are words that other texts have by chance.
pub(crate) fn refused_in_value<'a>(of: &str, value: &'a str) -> Option<&'a str> {
    let leads = LEADING.iter().any(|option| of == *option || of.strip_suffix(option).is_some_and(|before| before.ends_with('_')));
    let is_refused = |name: &str, end: &str| {
        is_refused_option(name) && (PER_REMOTE.iter().any(|prefix| name.starts_with(prefix)) || leads && end.starts_with(['=', ':', ',']))
    };
    // What a comma follows is an option without a value.
    let parts = value.match_indices(',').filter_map(|(at, _)| value.get(at + 1..));
    parts.map(str::trim_start).find_map(|part| {
        let (name, end) = part.split_at(part.find(['=', ':', ',', ' ', '"', '\'']).unwrap_or(part.len()));
        is_refused(name, end).then_some(name)
    })
}

/// Whether this variable is left out: it changes how often, and how, rclone prints statistics, and the mover alone reads those.
pub(crate) fn is_ignored(name: &str) -> bool {
    name == "RCLONE_STATS" || name.starts_with("RCLONE_STATS_")
}

/// Whether a Secret must not set this variable.
pub(crate) fn is_refused(name: &str) -> bool {
    let option = name.strip_prefix("RCLONE_").unwrap_or(name);
    let of_backend = option.to_lowercase();
    if REFUSED_OF_BACKENDS.iter().any(|refused| of_backend.strip_suffix(refused).is_some_and(|backend| backend.ends_with('_'))) {
        return true;
    }
    // RCLONE_CONFIG_<REMOTE>_<OPTION> defines a remote: how, not what.
    if option.starts_with("CONFIG_") && option != "CONFIG_DIR" {
        let of_remote = |prefix: &&str| of_backend.find(&format!("_{prefix}")).and_then(|at| of_backend.get(at + 1..));
        return PER_REMOTE.iter().filter_map(of_remote).any(is_refused_option);
    }
    REFUSED.contains(&option)
        || OF_COMMANDS.contains(&option)
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
    #[case("RCLONE_S3_VERSIONS", true)]
    #[case("RCLONE_B2_VERSION_AT", true)]
    #[case("RCLONE_CONFIG_X_VERSION_AT", true)]
    #[case("RCLONE_CONFIG_X_DIRECTORY_MARKERS", true)]
    #[case("RCLONE_CONFIG_X_GLOBAL.DRY_RUN", true)]
    #[case("RCLONE_GCS_DECOMPRESS", true)]
    #[case("RCLONE_CONFIG_VERSIONS_TYPE", false)]
    #[case("RCLONE_MAX_BUFFER_MEMORY", false)]
    #[case("RCLONE_INCLUDE_FROM", true)]
    #[case("RCLONE_EXCLUDE", true)]
    #[case("RCLONE_MIN_AGE", true)]
    #[case("RCLONE_IGNORE_EXISTING", true)]
    #[case("RCLONE_RC_ADDR", true)]
    #[case("RCLONE_METRICS_ADDR", true)]
    #[case("RCLONE_CPUPROFILE", true)]
    #[case("RCLONE_CONFIG", true)]
    #[case("RCLONE_CONFIG_DIR", true)]
    #[case("RCLONE_DUMP", true)]
    #[case("RCLONE_DIRS_ONLY", true)]
    #[case("RCLONE_DISABLE", true)]
    #[case("RCLONE_CONFIG_X_OVERRIDE.DISABLE", true)]
    #[case("RCLONE_DISABLE_HTTP2", false)]
    fn what_changes_a_transfers_meaning_is_refused(#[case] name: &str, #[case] refused: bool) {
        assert_eq!(is_refused(name), refused);
    }

    #[rstest]
    #[case("dir,global.dry_run=true:x", Some("global.dry_run"))]
    #[case("dir,description='a',override.immutable:x", Some("override.immutable"))]
    #[case(":s3,version_at=2020-01-01:bucket", Some("version_at"))]
    #[case("a=dir:x \"b c=dir,global.retries=3:y\"", Some("global.retries"))]
    #[case("dir,global.transfers=3:x", None)]
    #[case("dir:global.dry_run/versions", None)]
    fn an_option_that_follows_a_name_is_found(#[case] value: &str, #[case] refused: Option<&str>) {
        assert_eq!(refused_in_value("remote", value), refused);
        assert_eq!(refused_in_value("config_x_upstreams", value), refused);
    }

    #[rstest]
    #[case("description", "current,versions of it", None)]
    #[case("remote", "current,versions of it", None)]
    #[case("pass", "abc,versions=1", None)]
    #[case("pass", "abc,global.dry_run=1", Some("global.dry_run"))]
    fn a_text_with_such_a_word_is_none(#[case] of: &str, #[case] value: &str, #[case] refused: Option<&str>) {
        assert_eq!(refused_in_value(of, value), refused);
    }

    #[rstest]
    #[case(None, "4", "80MiB")]
    #[case(Some(64 << 20), "2", "40MiB")]
    #[case(Some(128 << 20), "4", "80MiB")]
    #[case(Some(384 << 20), "8", "192MiB")]
    fn tuning_follows_the_memory_there_is(#[case] limit: Option<u64>, #[case] transfers: &str, #[case] heap: &str) {
        let tuning = tuning(limit, Direction::Push);
        let of = |name: &str| tuning.iter().find(|setting| setting.0 == name).unwrap().2.as_str();
        assert_eq!((of("RCLONE_TRANSFERS"), of("GOMEMLIMIT")), (transfers, heap));
    }
}
