use std::io::Read;

use super::*;
use crate::resource::secret::Secret;
use crate::resource::spec::{ContainerSpec, FileOrigin, ServiceSpec};

fn service(targets: &[&str]) -> Service {
    let file = |target: &&str| FileSpec {
        target: (*target).to_owned(),
        origin: FileOrigin::Inline,
        mode: 0o640,
        uid: 7,
        gid: 8,
        signal: None,
    };
    let container = ContainerSpec { files: targets.iter().map(file).collect(), ..ContainerSpec::plain("web", "x:1") };
    let spec = ServiceSpec::plain(container);
    let files = targets.iter().map(|t| ((*t).to_owned(), Secret::new(format!("content of {t}")))).collect();
    Service::new("web", spec, BTreeMap::new(), files)
}

#[test]
fn the_marker_comes_last_and_names_the_files() {
    let long = format!("/srv/{}/x", "long".repeat(40));
    let service = service(&["/etc/web.conf", "/a/b", &long]);
    let marker = SaltedHash::of_files(&service, "salt").unwrap();
    let Archive(bytes) = archive(&service, &marker);
    let mut tar = tar::Archive::new(&bytes[..]);
    let entries: Vec<_> = tar
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let (mut text, header) = (String::new(), entry.header().clone());
            entry.read_to_string(&mut text).unwrap();
            let link = entry.link_name().unwrap().map(|l| l.display().to_string());
            let path = entry.path().unwrap().display().to_string();
            (path, header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap(), text, link)
        })
        .collect();
    let file = |t: &str| (t[1..].to_owned(), 0o640, 7, 8, format!("content of {t}"), None);
    let last = (".env-manager".to_owned(), 0o777, 0, 0, String::new(), Some(marker.to_string()));
    assert_eq!(entries, [file("/a/b"), file("/etc/web.conf"), file(&long), last]);
}

#[test]
fn equal_files_are_equal_bytes_whatever_their_order() {
    let (a, b) = (service(&["/a", "/b"]), service(&["/b", "/a"]));
    let marker = SaltedHash::of_files(&a, "salt").unwrap();
    assert_eq!(archive(&a, &marker).0, archive(&b, &marker).0);
}

#[test]
fn nothing_leads_out_of_the_root() {
    assert_eq!(relative("/../../etc//./passwd"), "etc/passwd");
}
