//! No more syncs than there are places, also when the agent is killed and starts again in the middle.

use super::site::Site;
use super::until::until;
use scribe_agent::api::Status;
use scribe_agent::api::status::Phase;
use serde_json::json;

const OBJECTS: usize = 12;
const PLACES: usize = 2;

#[tokio::test]
async fn no_more_syncs_than_slots() {
    let settings = format!("{{continuousInterval: 1h, maxConcurrentSyncs: {PLACES}, retry: {{initial: 1s, max: 4s}}}}");
    let site = Site::start_with("gate", &settings).await;
    for number in 0..OBJECTS {
        let name = format!("o{number}");
        let at_once = json!({ "trigger": { "manual": "first" } });
        let _ = if number % 2 == 0 { site.source(&name, at_once).await } else { site.destination(&name, at_once).await };
    }
    let (mut most, mut waited, mut killed) = (0, false, false);
    until("all have synced", 120, async || {
        let all = site.statuses().await;
        let running = all.iter().filter(|status| has_a_slot(status)).count();
        assert!(running <= PLACES, "{running} syncs at a time: {all:#?}");
        most = most.max(running);
        waited |= all.iter().any(|s| s.conditions.iter().any(|c| c.type_ == "Synchronizing" && c.reason == "WaitingForSlot"));
        let done = all.iter().filter(|s| s.last_manual_sync.is_some()).count();
        if done >= OBJECTS / 3 && !killed {
            killed = true;
            site.agent.kill();
        }
        if done == OBJECTS { Ok(()) } else { Err(done) }
    })
    .await;
    assert!(
        waited && most == PLACES && site.agent.starts() == 2,
        "waited: {waited}, at most {most} at a time, {} starts",
        site.agent.starts()
    );
    assert_eq!(site.world.record.lock().unwrap().violations, Vec::<String>::new());
}

/// In all other phases the cluster works, or nothing does.
fn has_a_slot(status: &Status) -> bool {
    status.run.as_ref().is_some_and(|run| matches!(run.phase, Phase::Capturing | Phase::Transferring))
}
