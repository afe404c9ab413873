//! Volumes, and hands in them: pods with a shell that fill, change and list what they hold.

use super::host::Process;
use super::site::Site;
use super::until::until;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;

/// A claim to make.
pub struct Claim<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its storage class; the cluster's default where none is given.
    pub class: Option<&'a str>,
    /// The `VolumeSnapshot` that it is made from, if it is.
    pub image: Option<&'a str>,
}

/// A pod that has a volume mounted.
pub struct Hand<'a> {
    site: &'a Site,
    pod: String,
}

impl Site {
    /// Makes a claim. Does not wait for its volume.
    pub fn claim(&self, claim: &Claim) {
        let mut spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
        if let Some(class) = claim.class {
            spec["storageClassName"] = json!(class);
        }
        if let Some(image) = claim.image {
            spec["dataSource"] = json!({ "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": image });
        }
        self.apply(json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": claim.name }, "spec": spec }));
    }

    /// A hand in the volume of this claim.
    pub async fn hand(&self, claim: &str) -> Hand<'_> {
        let pod = format!("hand-{}", super::namespace::random());
        let volume = json!({ "name": "data", "persistentVolumeClaim": { "claimName": claim } });
        let script = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done";
        let container = json!({
            "name": "hand",
            "image": super::cluster::given("E2E_SHELL_IMAGE"),
            "command": ["sh", "-c", script],
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        });
        let spec = json!({
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [volume],
        });
        self.apply(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": pod }, "spec": spec }));
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        until(&format!("pod {pod} has PVC {claim} mounted"), 90, async || {
            let status = api.get(&pod).await.unwrap().status.unwrap_or_default();
            if status.phase.as_deref() == Some("Running") { Ok(()) } else { Err(status) }
        })
        .await;
        Hand { site: self, pod }
    }

    /// A new volume of the cluster's default class with the first tree in it.
    pub async fn filled(&self, claim: &str) -> Hand<'_> {
        self.claim(&Claim { name: claim, class: None, image: None });
        let hand = self.hand(claim).await;
        hand.run(FIRST_TREE);
        hand
    }

    /// What a volume made from this image holds.
    pub async fn listing_of_image(&self, image: &str) -> Listing {
        let name = format!("look-{}", super::namespace::random());
        self.claim(&Claim { name: &name, class: None, image: Some(image) });
        self.listing_of_claim(&name).await
    }

    /// What the volume of this claim holds.
    pub async fn listing_of_claim(&self, claim: &str) -> Listing {
        let hand = self.hand(claim).await;
        let listing = hand.listing();
        hand.remove().await;
        listing
    }

    /// Waits until a claim is gone.
    pub async fn claim_gone(&self, name: &str) {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &self.namespace);
        until(&format!("PVC {name} is gone"), 60, async || match api.get_opt(name).await.unwrap() {
            None => Ok(()),
            Some(claim) => Err(claim.metadata),
        })
        .await;
    }
}

impl Hand<'_> {
    /// Runs a script in the volume's root folder.
    pub fn run(&self, script: &str) -> String {
        self.site.kubectl(&["exec", &self.pod, "--", "sh", "-euc", &format!("umask 022; cd /data; {script}")])
    }

    /// The process that keeps the volume mounted, at `/data`.
    pub fn process(&self) -> Process {
        Process::shell_of(&self.pod).unwrap_or_else(|| panic!("no process of pod {}", self.pod))
    }

    /// All that the volume holds.
    pub fn listing(&self) -> Listing {
        Listing::read(&self.run(LIST))
    }

    /// Takes the hand out of the volume.
    pub async fn remove(self) {
        let api: Api<Pod> = Api::namespaced(self.site.client.clone(), &self.site.namespace);
        api.delete(&self.pod, &DeleteParams::default()).await.unwrap();
        until(&format!("pod {} is gone", self.pod), 60, async || match api.get_opt(&self.pod).await.unwrap() {
            None => Ok(()),
            Some(pod) => Err(pod.name_any()),
        })
        .await;
    }
}

/// Every kind of entry that is replicated, with names and metadata that are easily lost.
pub const FIRST_TREE: &str = r#"
mkdir -p deep/er/still empty 'with space'
echo one >plain; echo two >deep/er/two; : >nothing
head -c 300000 /dev/urandom >deep/random
echo odd >'with space/ü‛ "quoted" \ back'; echo gone >deep/er/still/leaves
echo linked >hard; ln hard deep/hard-too
ln -s ../plain deep/link; ln -s /no/where dangling
mkdir becomes-a-file; echo inside >becomes-a-file/inside; echo file >becomes-a-folder
chmod 0600 plain; chmod 4755 deep/er/two; chmod 1777 empty; chmod 0000 nothing
chown 1234:5678 plain deep; chown -h 4321:8765 dangling
touch -d '2001-02-03 04:05:06' deep/random; touch -d '1999-12-31 23:59:59' empty
chmod 0750 .; chown 77:88 .
"#;

/// A second look of the same tree: content, names, kinds and metadata change.
pub const SECOND_TREE: &str = r"
echo changed >plain; echo 'same size' >deep/er/two; echo 'SAME SIZE' >deep/er/two
rm -r deep/er/still; rm deep/link dangling
rm -r becomes-a-file; echo now >becomes-a-file
rm becomes-a-folder; mkdir becomes-a-folder; echo now >becomes-a-folder/inside
echo new >'deep/new file'; mkdir -p brand/new/folders; ln -s plain deep/link
mv deep/random moved
chmod 0644 nothing; chown 9:9 nothing
";

/// One line an entry: `type|mode|uid|gid|size|mtime|links|inode|digest or target|path`.
const LIST: &str = r#"
find . | sort | while IFS= read -r path; do
  detail=-
  if [ -L "$path" ]; then detail=$(readlink "$path")
  elif [ -f "$path" ]; then detail=$(sha256sum <"$path" | cut -d' ' -f1)
  fi
  echo "$(stat -c '%F|%a|%u|%g|%s|%y|%h|%i' "$path")|$detail|$path"
done
"#;

/// What a volume holds: a description for each path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing(BTreeMap<String, String>);

impl Listing {
    fn read(text: &str) -> Listing {
        let mut first_of_inode = BTreeMap::new();
        let entries = text.lines().map(|line| {
            let fields: Vec<_> = line.splitn(10, '|').collect();
            let [kind, mode, uid, gid, size, mtime, links, inode, detail, path] = fields[..] else { panic!("not a line of LIST: {line}") };
            // The size of a directory and the number of its links are the file system's own affair.
            let content = if kind == "directory" { String::new() } else { format!(", {size} bytes, {detail}") };
            let group = if kind == "directory" || links == "1" { "" } else { *first_of_inode.entry(inode).or_insert(path) };
            let entry = format!("{kind} {mode} {uid}:{gid} {mtime}{content} {group}");
            (path.to_owned(), entry)
        });
        Listing(entries.collect())
    }

    /// The same as a driver leaves it that cuts times to the second.
    pub fn whole_seconds(&self) -> Listing {
        let cut = |entry: &String| {
            let fraction = entry.find('.').filter(|dot| entry[dot + 1..].len() > 9);
            fraction.map_or_else(|| entry.clone(), |dot| format!("{}{}", &entry[..dot], &entry[dot + 10..]))
        };
        Listing(self.0.iter().map(|(path, entry)| (path.clone(), cut(entry))).collect())
    }

    /// Panics with what differs, if anything does.
    #[track_caller]
    pub fn assert_is(&self, expected: &Listing) {
        let paths: std::collections::BTreeSet<_> = self.0.keys().chain(expected.0.keys()).collect();
        let differences: Vec<_> = paths
            .into_iter()
            .filter(|path| self.0.get(*path) != expected.0.get(*path))
            .map(|path| format!("{path}\n  is        {:?}\n  should be {:?}", self.0.get(path), expected.0.get(path)))
            .collect();
        assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
        assert!(expected.0.len() > 1, "nothing but the volume's root was compared");
    }
}
