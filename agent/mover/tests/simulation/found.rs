//! What the simulation has found and is mended, each with everything that it takes.

use rstest::rstest;

use crate::faults::Fault;
use crate::history::{Epoch, Hands, History, LOCAL, Layout, S3, SFTP, Sync, WEBDAV, Who};
use crate::objects::Kind;
use crate::play::play;
use crate::volume::Edit;

fn push(faults: &[(u32, Fault)]) -> Sync {
    sync(Who::Push(0), faults)
}

fn sync(who: Who, faults: &[(u32, Fault)]) -> Sync {
    Sync { who, skew: 0, verify: false, edits: Vec::new(), faults: faults.to_vec(), seed: 1 }
}

fn epoch(edits: &[Edit], syncs: &[Sync]) -> Epoch {
    let edits = edits.iter().map(|edit| (0, edit.clone())).collect();
    Epoch { edits, passes: 600, hands: None, syncs: syncs.to_vec(), order: 1 }
}

fn file(name: &'static str, content: &str) -> Edit {
    Edit::File(name, content.into())
}

fn holds(kind: Kind, epochs: &[Epoch]) {
    plays(&History { kind, layout: Layout::Files, bucket: true, verified: true, helped: false, epochs: epochs.to_vec() });
}

fn plays(history: &History) {
    let (wrong, log, _) = play(history, true);
    assert_eq!(wrong, None, "{history:#?}\n{}", log.join("\n"));
}

/// A push was killed after it had sent a file where the volume has a folder now. Only its manifest says whose the object is: it stays until
/// that has gone, whatever comes between.
#[rstest]
#[case(S3)]
#[case(LOCAL)]
fn the_object_of_a_dead_push_where_a_folder_is_now(#[case] kind: Kind) {
    for dies in 5..16 {
        for refused in 1..30 {
            let first = epoch(&[file("a", "a"), file("d", "d")], &[push(&[(dies, Fault::Before)])]);
            let second = epoch(&[Edit::Link("a"), file("d/y", "yy")], &[push(&[(refused, Fault::Refused)])]);
            holds(kind, &[first, second]);
        }
    }
}

/// One read of the commit gives an older one, whose manifest has gone since. What the newest one needs is no leftover.
#[test]
fn an_old_commit_whose_manifest_has_gone() {
    for ago in 1..24 {
        let edited = |content| epoch(&[file("a", content)], &[push(&[])]);
        holds(S3, &[edited("1"), edited("2"), epoch(&[file("b", "b")], &[push(&[(1, Fault::Old(ago))])])]);
    }
}

/// A file that the last push replaced is verified as any other.
#[rstest]
#[case(S3)]
#[case(LOCAL)]
#[case(WEBDAV)]
fn another_content_under_the_name_of_a_replaced_file(#[case] kind: Kind) {
    for which in 0..4 {
        let edited = |content| epoch(&[file("a", content)], &[push(&[])]);
        holds(kind, &[edited("1"), edited("2"), Epoch { hands: Some(Hands::Change(which)), ..epoch(&[], &[]) }]);
    }
}

/// A push may die while it writes anything, and so may the next one. Where an upload that is cut takes the older object along, and that is
/// the claim, what was sent under it is still that object's. Where it is sent to a name of its own, that one goes in the end.
#[rstest]
#[case(S3)]
#[case(LOCAL)]
#[case(WEBDAV)]
fn an_object_that_is_cut(#[case] kind: Kind) {
    for first in 1..20 {
        for second in 1..20 {
            holds(kind, &[epoch(&[file("a", "a")], &[push(&[(first, Fault::During)])]), epoch(&[], &[push(&[(second, Fault::During)])])]);
        }
    }
}

/// A first push was killed, something deleted what it had sent, and its folder is left where the volume has a file now.
#[test]
fn an_empty_folder_where_a_file_goes() {
    for which in 0..4 {
        let first = epoch(&[file("d/y", "y")], &[push(&[(10, Fault::Before)])]);
        holds(WEBDAV, &[first, Epoch { hands: Some(Hands::Delete(which)), ..epoch(&[file("d", "d")], &[push(&[])]) }]);
    }
}

/// Two objects begin on one path at the same moment. The one that finds the other's commit leaves nothing that is in that one's way.
#[test]
fn a_rival_that_gives_up() {
    // As if it had looked before the other one came.
    let late = [(1, Fault::Gone), (2, Fault::Gone)];
    holds(S3, &[epoch(&[], &[sync(Who::Push(1), &[])]), epoch(&[], &[push(&late)])]);
}

/// A push continues where a killed one had sent a file. Its volume changes meanwhile, that file's folder is a file now, and it is killed, too:
/// what neither sent anew is still some manifest's, or has gone.
#[rstest]
#[case(S3)]
#[case(LOCAL)]
fn what_a_dead_push_had_sent_and_a_live_volume_lost(#[case] kind: Kind) {
    let first = epoch(&[file("d/x", "x")], &[push(&[(9, Fault::Before)])]);
    for changes in 8..20 {
        for dies in 16..36 {
            let live = Sync { edits: vec![(changes, file("d", "d"))], ..push(&[(dies, Fault::Before)]) };
            holds(kind, &[first.clone(), epoch(&[], &[live])]);
        }
    }
}

/// Two movers of one source. The second one takes the manifest of the first for a dead push's, and deletes it; the first one dies in the
/// middle of an upload. What is half written is known by the name that the committed revision has.
#[rstest]
#[case(LOCAL)]
#[case(SFTP)]
fn half_an_object_of_a_push_whose_manifest_is_gone(#[case] kind: Kind) {
    for dies in 4..9 {
        for order in 0..60 {
            let both = Epoch { order, ..epoch(&[file("d/x", "")], &[push(&[(dies, Fault::During)]), push(&[])]) };
            holds(kind, &[both, epoch(&[file("d", "dd")], &[])]);
        }
    }
}

/// A listing leaves out what a dead push has sent, and the volume has something else there by now. Its manifest goes once that has gone.
#[rstest]
#[case(S3)]
#[case(LOCAL)]
fn an_object_of_a_dead_push_that_one_listing_leaves_out(#[case] kind: Kind) {
    for lies in 1..6 {
        for fault in [Fault::Half, Fault::Unlisted(0), Fault::Unlisted(1), Fault::Unlisted(2)] {
            let first = epoch(&[file("d", "dd")], &[push(&[(8, Fault::Before)])]);
            let second = epoch(&[Edit::Link("d")], &[push(&[(lies, fault)])]);
            holds(kind, &[first, second, epoch(&[file("d/x", "x")], &[])]);
        }
    }
}

/// A push whose volume changes finds a file of two dead ones where it is going to have a folder, and dies after its commit.
#[rstest]
#[case(LOCAL)]
#[case(SFTP)]
fn a_file_of_a_dead_push_where_a_live_volume_has_a_folder(#[case] kind: Kind) {
    let first = epoch(&[file("d", "dd")], &[push(&[(9, Fault::Before)])]);
    for changes in 2..12 {
        for dies in 14..34 {
            let live = Sync { edits: vec![(changes, file("d/x", "x"))], ..push(&[(dies, Fault::Before)]) };
            holds(kind, &[first.clone(), epoch(&[file("d", "DD")], &[live])]);
        }
    }
}

/// A push was killed right after its claim. A listing that the push of another object makes shows nothing: the claim is read all the same.
#[rstest]
#[case(S3)]
#[case(LOCAL)]
fn an_empty_listing_of_a_path_that_is_claimed(#[case] kind: Kind) {
    for dies in 3..8 {
        for fault in [Fault::Gone, Fault::Old(1), Fault::Old(2), Fault::Old(3)] {
            let first = epoch(&[], &[sync(Who::Push(1), &[(dies, Fault::Before)])]);
            holds(kind, &[first, epoch(&[], &[push(&[(2, fault)])])]);
        }
    }
}

/// Content under its hash was lost, a push has sent it again, and died before it was put in place. No listing of the next push shows it: the
/// commit says that something waits until that is there.
#[rstest]
#[case(S3)]
#[case(SFTP)]
fn lost_content_that_waits_and_is_listed_nowhere(#[case] kind: Kind) {
    let first = epoch(&[file("odd\nname", "o")], &[push(&[])]);
    for dies in 12..28 {
        for at in 0..9 {
            let again = Sync { verify: true, ..push(&[(dies, Fault::Before)]) };
            let second = Epoch { hands: Some(Hands::Delete(0)), ..epoch(&[file("a", "a")], &[again]) };
            holds(kind, &[first.clone(), second, epoch(&[], &[push(&[(1, Fault::Unlisted(at))])])]);
        }
    }
}

/// A push was killed right after its claim. A read that does not find that claim, which a listing shows, is no reason to replace it.
#[rstest]
#[case(S3)]
#[case(LOCAL)]
fn a_claim_that_one_read_does_not_find(#[case] kind: Kind) {
    for dies in 3..8 {
        for at in 1..8 {
            let first = epoch(&[], &[sync(Who::Push(1), &[(dies, Fault::Before)])]);
            holds(kind, &[first, epoch(&[], &[push(&[(at, Fault::Gone)])])]);
        }
    }
}

/// Two pushes died after their commits, before they had cleaned up, and one read of the commit gives that of the first. What waits in its
/// folder is older than what is committed by now.
#[test]
fn an_old_commit_whose_files_still_wait() {
    let edited = |content, faults: &[(u32, Fault)]| epoch(&[file("a", content)], &[push(faults)]);
    for first in 9..13 {
        for second in 24..29 {
            for ago in 4..12 {
                let begun = [edited("1", &[]), edited("2", &[(first, Fault::Before)]), edited("3", &[(second, Fault::Before)])];
                let again = epoch(&[], &[push(&[(1, Fault::Old(ago))])]);
                holds(S3, &[begun.as_slice(), &[again]].concat());
            }
        }
    }
}

/// The same, where nothing is committed yet and what the listing leaves out is in the way of the new tree: a file where a folder goes, or a
/// file in a folder where a file goes.
#[rstest]
#[case(LOCAL, "d", "d/x")]
#[case(LOCAL, "d/x", "d")]
#[case(WEBDAV, "d", "d/x")]
#[case(WEBDAV, "d/x", "d")]
fn an_object_of_a_dead_first_push_that_one_listing_leaves_out(#[case] kind: Kind, #[case] was: &'static str, #[case] is: &'static str) {
    for dies in 7..14 {
        for lies in 1..6 {
            for fault in [Fault::Half, Fault::Unlisted(0), Fault::Unlisted(1), Fault::Unlisted(2), Fault::Unlisted(3)] {
                let first = epoch(&[file(was, "dd")], &[push(&[(dies, Fault::Before)])]);
                holds(kind, &[first, epoch(&[file(is, "x")], &[push(&[(lies, fault)])]), epoch(&[], &[push(&[])])]);
            }
        }
    }
}

/// The path was put back to what an object of the same name had there before this one took it over, and one read of the commit gives what this
/// one had committed since. Its manifest has gone: the path is not claimed on that.
#[test]
fn an_old_commit_on_a_path_that_is_anothers_again() {
    for ago in 1..12 {
        let pushed = || epoch(&[], &[push(&[])]);
        let with = |hands, epoch: Epoch| Epoch { hands: Some(hands), ..epoch };
        let again = with(Hands::Rollback(1), epoch(&[], &[]));
        let epochs = vec![pushed(), with(Hands::Recreate, pushed()), again, epoch(&[], &[push(&[(1, Fault::Old(ago))])])];
        // In the end a person decides whose it is.
        plays(&History { kind: SFTP, layout: Layout::Files, bucket: true, verified: true, helped: true, epochs });
    }
}

/// Two objects begin on one path at the same moment, with files of one name, size and time. What the loser has put in place of the winner's is
/// found by the next verification: its manifest says what it has sent.
#[rstest]
#[case(LOCAL)]
#[case(SFTP)]
#[case(S3)]
#[case(WEBDAV)]
fn what_the_loser_of_two_first_pushes_has_put_in_place(#[case] kind: Kind) {
    for order in 0..300 {
        let edits = vec![(0, Edit::Dated("a", "c".into())), (1, Edit::Dated("a", "d".into()))];
        let syncs = [push(&[]), sync(Who::Push(1), &[])];
        let epochs = vec![Epoch { edits, order, ..epoch(&[], &syncs) }];
        plays(&History { kind, layout: Layout::Files, bucket: true, verified: false, helped: true, epochs });
    }
}

/// A push died while the server copied a file over the older one, so that what it had staged is all there is. The next one's listing does not
/// show that, and the file changes while it is sent again.
#[test]
fn the_only_copy_that_no_listing_shows_is_not_replaced_by_a_repair() {
    let seeded = |seed, sync: Sync| Sync { seed, ..sync };
    let first = epoch(&[Edit::Dated("d/x", b"c".to_vec()), file("odd\nname", "b")], &[seeded(12_117_012_789_928_864_843, push(&[]))]);
    for dies in 18..30 {
        for at in 12..22 {
            let mut second = epoch(
                &[file("odd\nname", ""), Edit::Dated("d/x", b"d".to_vec())],
                &[seeded(5_803_879_863_393_367_248, push(&[(dies, Fault::During)]))],
            );
            second.passes = 1_000_000;
            let mut third = epoch(
                &[],
                &[Sync { edits: vec![(at, file("d/x", ""))], ..seeded(12_074_917_637_012_671_923, push(&[(1, Fault::Unlisted(103))])) }],
            );
            third.passes = 90_000;
            let history = History {
                kind: WEBDAV,
                layout: Layout::Files,
                bucket: true,
                verified: true,
                helped: true,
                epochs: vec![first.clone(), second, third],
            };
            let (wrong, log, _) = play(&history, true);
            assert_eq!(wrong, None, "{dies} {at}\n{}", log.join("\n"));
        }
    }
}

/// The bucket was put back to what it was before this object pushed there, another one has begun and could not go on, and one read gives the
/// claim that this one had.
#[test]
fn an_old_claim_on_a_path_that_another_one_has_claimed() {
    for kind in [S3, WEBDAV] {
        for ago in 8..20 {
            let taken = epoch(&[], &[sync(Who::Push(1), &[(3, Fault::Hidden)])]);
            let back = Epoch { hands: Some(Hands::Rollback(2)), ..taken };
            let epochs = vec![epoch(&[], &[push(&[])]), epoch(&[], &[]), back, epoch(&[], &[push(&[(3, Fault::Old(ago))])])];
            plays(&History { kind, layout: Layout::Files, bucket: true, verified: false, helped: true, epochs });
        }
    }
}

/// A pack that has its size, and other content: where listings have no sums, nobody had looked.
#[rstest]
#[case(S3)]
#[case(SFTP)]
#[case(WEBDAV)]
fn a_pack_of_other_content(#[case] kind: Kind) {
    let first = epoch(&[file("a", "a")], &[push(&[])]);
    let changed = Epoch { hands: Some(Hands::Change(0)), ..epoch(&[], &[]) };
    let epochs = vec![first, changed];
    plays(&History { kind, layout: Layout::Packs, bucket: true, verified: true, helped: false, epochs });
}
