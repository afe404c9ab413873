use super::*;
use crate::rclone::configuration::plain;
use crate::rclone::variables::KEY;
use crate::report::Reason;
use assert_fs::TempDir;
use rstest::rstest;

const CONF: &str = "[s3]\ntype = s3\nchunk_size = 16M\n[other]\ntype=sftp\n[bad]\nx = y\n";

fn mount(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

fn read(files: &[(&str, &str)], section: &str) -> Result<Environment> {
    let own = [("HOME", "/root"), ("TMPDIR", "/t"), ("AWS_SECRET_ACCESS_KEY", "HUNTER2c"), ("HTTPS_PROXY", "http://u:HUNTER2d@p")];
    let own: Vec<_> = own.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let environment = from_mount(mount(files).path(), Some("creds"), &own)?;
    let conf = files.iter().find(|(name, _)| *name == KEY).map(|(_, conf)| *conf).unwrap_or_default();
    environment.tuned(None, Direction::Pull).with_sections(plain(conf), section)
}

#[test]
fn a_missing_or_empty_secret_is_named() {
    let missing = from_mount(Path::new("/nonexistent"), Some("creds"), &[]).unwrap_err();
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
#[case("global.disable")]
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
        env.redact("HUNTER2a HUNTER2b HUNTER2c HUNTER2d eu-central-1 us-east-1 type /root"),
        "<value of secret_access_key> <value of RCLONE_CONFIG_PASS> <value of AWS_SECRET_ACCESS_KEY> <value of HTTPS_PROXY> eu-central-1 \
         us-east-1 type /root"
    );
    assert!(!format!("{env:?}").contains("HUNTER2"));
}

#[test]
fn a_variable_may_tell_the_type() {
    let env = read(&[(KEY, "[other]\ntype = local\n"), ("RCLONE_CONFIG_MY-S3_TYPE", "s3\n")], "my-s3").unwrap();
    assert_eq!(env.backend.as_deref(), Some("s3"));
}

fn var(env: &Environment, name: &str) -> Option<String> {
    env.vars.get(&OsString::from(name)).map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn tuning_of_the_user_wins_and_no_other_key_leaks_in() {
    let env = read(&[(KEY, CONF), ("RCLONE_TRANSFERS", "9\n"), ("ca.crt", "x")], "s3").unwrap();
    assert_eq!(var(&env, "RCLONE_TRANSFERS").as_deref(), Some("9"));
    assert_eq!(var(&env, "RCLONE_S3_CHUNK_SIZE"), None, "set in the section");
    assert_eq!(var(&env, "RCLONE_S3_UPLOAD_CONCURRENCY").as_deref(), Some("2"));
    assert_eq!(var(&env, "ca.crt"), None);
    assert_eq!(env.backend.as_deref(), Some("s3"));
}

/// A section may lead to another, and a variable sets an option, too.
#[rstest]
#[case("[other]\nupload_concurrency = 7\n", &[], "RCLONE_S3_UPLOAD_CONCURRENCY")]
#[case("[other]\nglobal.timeout = 1m\n", &[], "RCLONE_TIMEOUT")]
#[case("[other]\noverride.checkers = 1\n", &[], "RCLONE_CHECKERS")]
#[case("", &[("RCLONE_CONFIG_OTHER_DISABLE_CHECKSUM", "false")], "RCLONE_S3_DISABLE_CHECKSUM")]
fn what_any_section_sets_is_left_to_it(#[case] conf: &str, #[case] vars: &[(&str, &str)], #[case] ours: &str) {
    let with = |conf: &str, vars: &[(&str, &str)]| {
        let conf = format!("[s3]\ntype = s3\n{conf}");
        let files: Vec<_> = [(KEY, conf.as_str())].into_iter().chain(vars.iter().copied()).collect();
        var(&read(&files, "s3").unwrap(), ours)
    };
    assert!(with("", &[]).is_some());
    assert_eq!(with(conf, vars), None);
}

#[test]
fn the_machines_credentials_are_not_looked_for_unless_asked_for() {
    let name = "AWS_EC2_METADATA_DISABLED";
    assert_eq!(var(&read(&[(KEY, CONF)], "s3").unwrap(), name).as_deref(), Some("true"));
    assert_eq!(var(&read(&[(KEY, &format!("{CONF}[x]\nenv_auth = true\n"))], "s3").unwrap(), name), None);
    let own = [(name.into(), "false".into())];
    let env = from_mount(mount(&[(KEY, CONF)]).path(), None, &own).unwrap();
    assert_eq!(var(&env, name).as_deref(), Some("false"));
}

/// All but what changes the meaning of a transfer, or speaks of the mover itself.
#[test]
fn our_own_environment_passes() {
    let own = [
        ("HOME", "/h"),
        ("AWS_PROFILE", "p"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/g"),
        ("RCLONE_BWLIMIT", "1M"),
        ("RCLONE_STATS", "1s"),
        ("NOTIFY_SOCKET", "/n"),
        ("RCLONE_CONFIG_S3_TYPE", "memory"),
        ("RCLONE_RC_ADDR", ":1"),
        ("RCLONE_DRY_RUN", "true"),
        ("RCLONE_ASK_PASSWORD", "true"),
    ];
    let own: Vec<_> = own.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let secret = mount(&[(KEY, CONF)]);
    let env = from_mount(secret.path(), None, &own).unwrap();
    let names: Vec<&str> = env.vars.keys().map(|name| name.to_str().unwrap()).collect();
    let expected = [
        "AWS_EC2_METADATA_DISABLED",
        "AWS_PROFILE",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "HOME",
        "RCLONE_ASK_PASSWORD",
        "RCLONE_BWLIMIT",
        "RCLONE_CONFIG",
        "RCLONE_RETRIES",
    ];
    assert_eq!(names, expected);
    assert_eq!(var(&env, "RCLONE_ASK_PASSWORD").as_deref(), Some("false"));
    for refused in ["RCLONE_RC_ADDR", "RCLONE_DRY_RUN"] {
        let failure = from_process(&[("HOME".into(), "/h".into()), (refused.into(), "true".into())]).unwrap_err();
        assert!(failure.reason == Reason::SecretInvalid && failure.message.contains(refused), "{failure}");
    }
    let env = from_process(&[("HOME".into(), "/h".into()), ("RCLONE_CONFIG_S3_TYPE".into(), "s3".into())]).unwrap();
    assert_eq!(var(&env, "RCLONE_CONFIG_S3_TYPE").as_deref(), Some("s3"));
}

#[test]
fn the_configuration_of_a_person_is_where_rclone_finds_it() {
    let home = TempDir::new().unwrap();
    let own = [("HOME".into(), home.path().into()), ("XDG_CONFIG_HOME".into(), home.path().join("xdg").into())];
    let found = || var(&from_process(&own).unwrap(), "RCLONE_CONFIG").unwrap();
    for path in ["xdg/rclone/rclone.conf", ".rclone.conf", ".config/rclone/rclone.conf", "xdg/rclone/rclone.conf"] {
        let path = home.path().join(path);
        if path != home.path().join("xdg/rclone/rclone.conf") || home.path().join(".rclone.conf").exists() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
        }
        assert_eq!(Path::new(&found()), path);
    }
    assert_eq!(from_process(&[]).unwrap_err().reason, Reason::SecretMissing);
}

#[rstest]
#[case("couldn't parse config item \"transfers\" = \"ten\" as int", Some("RCLONE_TRANSFERS of Secret \"creds\""))]
#[case("Invalid value when setting --transfers from environment", Some("RCLONE_TRANSFERS of Secret \"creds\""))]
#[case("RCLONE_TRANSFERS=\"ten\"", Some("RCLONE_TRANSFERS of Secret \"creds\""))]
#[case("unknown flag: --transfers-more", None)]
#[case("cannot listen", None)]
fn a_variable_that_rclone_does_not_understand_is_found(#[case] said: &str, #[case] expected: Option<&str>) {
    let env = from_mount(mount(&[(KEY, CONF), ("RCLONE_TRANSFERS", "ten")]).path(), Some("creds"), &[]).unwrap();
    assert_eq!(env.misunderstood(said).as_deref(), expected);
}
