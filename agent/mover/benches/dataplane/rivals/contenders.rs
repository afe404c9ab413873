//! Who is measured: one entry a contender. A further one is one entry more.

/// A program, or a procedure, that sends a volume to the S3 server and brings it back; as lines of shell.
///
/// They find `$VOLUME`, `$DEST` (the folder that this contender restores into, empty before its first pull), `$STATE` (a folder of this contender's own, which it keeps), `$TMPDIR`, `$ADDRESS` (of the server, as host:port) and the
/// programs `$BENCH` (this one, which is our mover too), `$RCLONE`, `$RESTIC` and `$KOPIA`; the keys are where each program looks for them.
pub struct Contender {
    /// In the table.
    pub name: &'static str,
    /// What is done once, before anything is measured.
    pub prepare: &'static str,
    /// A push of the volume as it is now.
    pub push: &'static str,
    /// A pull of what was pushed last, over what the pull before has left.
    pub pull: &'static str,
}

/// A push of our mover.
macro_rules! pushes {
    ($layout:literal) => {
        concat!(
            "layout=",
            $layout,
            r#"
            pushed=$(sed -n 's/.*"revision": *"\([^"]*\)".*/\1/p' "$STATE/report" 2>/dev/null || true)
            exec "$BENCH" mover push --layout "$layout" --remote "s3:bucket/$layout" --volume "$VOLUME" --config-dir "$SECRET" --rclone "$RCLONE" \
                --report "$STATE/report" --owner shop/db --owner-uid uid-1 --verify-interval 24h ${pushed:+--pushed-revision "$pushed"}"#
        )
    };
}

/// A pull of our mover, into a volume that nothing else writes to.
macro_rules! pulls {
    ($layout:literal) => {
        concat!(
            "layout=",
            $layout,
            r#"
            pulled=$(sed -n 's/.*"revision": *"\([^"]*\)".*/\1/p' "$STATE/pulled" 2>/dev/null || true)
            exec "$BENCH" mover pull --remote "s3:bucket/$layout" --volume "$DEST" --config-dir "$SECRET" --rclone "$RCLONE" \
                --report "$STATE/pulled" --private-volume ${pulled:+--applied-revision "$pulled"}"#
        )
    };
}

/// In the order of the table's columns. The first one is what the others' seconds are compared with.
pub const CONTENDERS: &[Contender] = &[
    Contender { name: "Files", prepare: "", push: pushes!("files"), pull: pulls!("files") },
    Contender { name: "Packs", prepare: "", push: pushes!("packs"), pull: pulls!("packs") },
    Contender {
        name: "rclone sync",
        prepare: "",
        push: r#"exec "$RCLONE" sync "$VOLUME" s3:bucket/rclone"#,
        pull: r#"exec "$RCLONE" sync s3:bucket/rclone "$DEST""#,
    },
    Contender {
        name: "VolSync",
        prepare: "",
        // Its flags; permissions go beside the data, in a copy of their own.
        push: r#"
            flags="--checksum --one-file-system --create-empty-src-dirs --transfers 10"
            cd "$VOLUME/.."
            getfacl -R data >"$STATE/permissions.facl"
            "$RCLONE" sync $flags data s3:bucket/volsync
            "$RCLONE" copy $flags --include permissions.facl "$STATE" s3:bucket/volsync"#,
        pull: r#"
            flags="--checksum --one-file-system --create-empty-src-dirs --transfers 10"
            cd "$DEST/.."
            "$RCLONE" sync $flags --exclude permissions.facl s3:bucket/volsync data
            "$RCLONE" copy $flags --include permissions.facl s3:bucket/volsync "$STATE/pulled"
            # Empty folders do not come back from S3, and it fails on them.
            setfacl --restore="$STATE/pulled/permissions.facl" || true"#,
    },
    Contender {
        name: "restic",
        prepare: r#""$RESTIC" init"#,
        push: r#"cd "$VOLUME" && exec "$RESTIC" backup --host bench ."#,
        // Its default reads what is there and writes what differs; files that are no longer in the snapshot go.
        pull: r#"exec "$RESTIC" restore latest --target "$DEST" --delete"#,
    },
    Contender {
        name: "kopia",
        prepare: r#"
            "$KOPIA" repository create s3 --bucket bucket --prefix kopia/ --endpoint "$ADDRESS" --disable-tls --region us-east-1 \
                --cache-directory "$STATE/cache" --override-hostname bench --override-username bench"#,
        push: r#"exec "$KOPIA" snapshot create --no-progress "$VOLUME""#,
        pull: r#"exec "$KOPIA" restore --no-progress --delete-extra --snapshot-time latest "$VOLUME" "$DEST""#,
    },
];
