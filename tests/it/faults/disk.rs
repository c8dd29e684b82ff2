//! reliability.md, "Disk": full, against all five verbs. Read-only and corrupt at start are in `lifecycle::disk`; the
//! directory deleted or old in `state`.

use std::{
    cell::{Cell, RefCell},
    fs,
    path::PathBuf,
};

use serde_json::json;
use tests::{Verb, World, eventually, names};

use super::{Ordeal, SOON};
use crate::lifecycle::disk::fill;

#[test]
fn a_full_disk_refuses_requests_alone_and_all_is_well_with_room() {
    let mut world = World::build().own_disk("6m").set("journal.reserve", "1MiB").start();
    let filler: Cell<Option<PathBuf>> = Cell::new(None);
    let accepted = RefCell::new(Vec::new());
    let one = json!({"template": {"templateId": "small", "machineCount": 1}});
    Ordeal::refusing(&["disk"]).saying(&["disk_full", "free space on the disk of the state directory"]).undergo(
        &mut world,
        |world| {
            filler.set(Some(fill(world)));
            // What the journal's files still have of room is used up by small requests.
            eventually("a request is refused", SOON, || {
                let reply = world.call(Verb::RequestMachines, &one);
                let id = reply.json["requestId"].as_str().filter(|_| reply.code == 0).map(str::to_owned);
                let refused = id.is_none();
                accepted.borrow_mut().extend(id);
                refused.then_some(())
            });
        },
        |world| {
            fs::remove_file(filler.take().expect("the disk was filled")).expect("the filler is ours");
            for id in accepted.borrow().iter() {
                let end = world.wait_end(id);
                assert_eq!(end.status, "complete", "an acknowledged request: {end:#?}");
                assert_eq!(world.wait_end(&world.give_back(&names(&end.machines))).status, "complete");
            }
        },
    );
    eventually("requests are accepted again", SOON, || {
        (world.call(Verb::RequestMachines, &one).code == 0).then_some(())
    });
}
