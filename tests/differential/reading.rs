//! GET of one pod, whole or in part.

use serde_json::json;

use crate::{
    case::case,
    pair::{bound_pod, idle_pod},
};

#[test]
fn a_pod_is_read_alike() {
    case("reading", 0, |case| {
        let pods = case.pair.pods();
        case.pair.each(|side| drop(side.create(&bound_pod("p"))));
        case.pair.settle();
        case.same_call("present", "GET", &format!("{pods}/p"), None);
        case.same_call("absent", "GET", &format!("{pods}/q"), None);
        case.same_call("a name that can't be", "GET", &format!("{pods}/Bad_Name"), None);
        case.same_call("a version", "GET", &format!("{pods}/p?resourceVersion=0"), None);
        case.same_call("a garbled version", "GET", &format!("{pods}/p?resourceVersion=x"), None);
        case.same("an unknown subresource", |side| side.admin.call("GET", &format!("{pods}/p/nonsense"), None));
        case.same("in a namespace that is not there", |side| {
            side.admin.call("GET", "/api/v1/namespaces/there-is-none/pods/p", None)
        });
        case.same("HEAD", |side| side.admin.call("HEAD", &format!("{pods}/p"), None));
        case.same("PUT of the collection", |side| side.admin.call("PUT", &pods, Some(&idle_pod("p"))));
    });
}

#[test]
fn a_pod_is_read_in_part_alike() {
    case("reading in part", 0, |case| {
        let path = format!("{}/p", case.pair.pods());
        let absent = format!("{}/q", case.pair.pods());
        case.pair.each(|side| drop(side.create(&bound_pod("p"))));
        for (what, accept) in [
            ("metadata", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
            ("metadata, or all", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"),
            ("an older form, or all", "application/json;as=Table;g=meta.k8s.io;v=v1alpha9,application/json"),
            ("anything", "*/*"),
            ("any application", "application/*"),
            ("with quality", "application/json;q=0.5"),
            ("a page", "text/html,application/xhtml+xml,*/*"),
            ("only a page", "text/html"),
            ("nonsense", "nonsense"),
        ] {
            case.same(what, |side| side.get_accepting(&path, accept));
        }
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                     application/json";
        case.same("absent, as a table", |side| side.get_accepting(&absent, table));
        case.same_value("the table's columns that both have", |side| {
            let answer = side.get_accepting(&path, table).expect("an answer").json().expect("a table");
            let columns = answer["columnDefinitions"].as_array().expect("columns").iter().take(5);
            let columns: Vec<_> = columns.map(|column| json!([column["name"], column["priority"]])).collect();
            let row = &answer["rows"][0];
            let cells: Vec<_> = row["cells"].as_array().expect("cells").iter().take(3).cloned().collect();
            json!([
                answer["kind"],
                answer["apiVersion"],
                columns,
                cells,
                row["object"]["kind"],
                row["object"]["metadata"]["name"]
            ])
        });
    });
}
