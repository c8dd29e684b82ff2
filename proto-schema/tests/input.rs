//! HostFactory's documents as they may come: what is tolerated, and what is refused with which words.

use proto_schema::{
    hostfactory::{
        IdempotencyKey, MachineRef, RequestMachinesInput, ReturnInput, ReturnRequestsInput, StatusInput, TemplatesInput,
    },
    input::{InputDocument, parse_input},
};

fn refused<T: InputDocument + std::fmt::Debug>(raw: &str) -> String {
    let message = parse_input::<T>(raw).expect_err("this document is wrong").to_string();
    assert!(message.chars().count() < 500, "{} characters for a message", message.chars().count());
    message
}

fn count(raw: &str) -> String {
    refused::<RequestMachinesInput>(&format!(r#"{{"template":{{"templateId":"t","machineCount":{raw}}}}}"#))
}

#[test]
fn a_count_must_be_a_whole_number_of_at_least_one_and_the_message_quotes_what_was_written() {
    for wrong in
        ["true", "\"5\"", "1.5", "1e1", "1.0", "0", "-1", "-0", "null", "[]", "{}", "1000000000000000000000000"]
    {
        let message = count(wrong);
        assert!(message.starts_with("template.machineCount: "), "{message}");
        assert!(message.contains(&format!("{wrong} is not a number of machines")), "{message}");
        assert!(message.contains("(line 1, column "), "{message}");
    }
}

#[test]
fn a_count_of_a_thousand_million_is_an_integer_for_the_daemon_to_judge() {
    let input: RequestMachinesInput =
        parse_input(r#"{"template":{"templateId":"t","machineCount":1000000000}}"#).expect("an integer");
    assert_eq!(input.template.machine_count, 1_000_000_000);
}

#[test]
fn unknown_keys_are_ignored_even_twice() {
    let raw = r#"{"userData":1,"userData":2,"template":{"rc_account":"x","templateId":"t","machineCount":3},"z":[{}]}"#;
    assert_eq!(parse_input::<RequestMachinesInput>(raw).expect("legal").template.machine_count, 3);
}

#[test]
fn a_known_key_twice_is_refused_wherever_it_stands() {
    let twice = refused::<RequestMachinesInput>(
        r#"{"template":{"templateId":"a","machineCount":1},"template":{"templateId":"b","machineCount":2}}"#,
    );
    assert!(twice.contains("duplicate field `template`"), "{twice}");
    let inner = refused::<RequestMachinesInput>(r#"{"template":{"templateId":"a","templateId":"b","machineCount":1}}"#);
    assert!(inner.contains("duplicate field `templateId`"), "{inner}");
    let single = refused::<ReturnInput>(r#"{"machines":{"name":"a","name":"b"}}"#);
    assert!(single.contains("duplicate field `name`"), "{single}");
}

#[test]
fn one_object_counts_as_a_list_of_one_and_nothing_as_no_entries() {
    let one: StatusInput = parse_input(r#"{"requests":{"requestId":"r"}}"#).expect("legal");
    assert_eq!(one.requests.len(), 1);
    for nothing in ["{}", r#"{"requests":[]}"#, r#"{"requests":{}}"#, r#"{"requests":null}"#, " \n{ }\n"] {
        assert_eq!(parse_input::<StatusInput>(nothing).expect("legal"), StatusInput::default(), "{nothing}");
    }
    let machine: ReturnInput = parse_input(r#"{"machines":{"machineId":"i","name":"n"}}"#).expect("legal");
    assert_eq!(machine.machines, [MachineRef { name: "n".into(), machine_id: Some("i".into()) }]);
}

#[test]
fn saying_nothing_about_machines_differs_from_saying_there_are_none() {
    for silent in ["{}", r#"{"machines":null}"#] {
        assert_eq!(parse_input::<ReturnRequestsInput>(silent).expect("legal").machines, None);
    }
    assert_eq!(parse_input::<ReturnRequestsInput>(r#"{"machines":[]}"#).expect("legal").machines, Some(vec![]));
}

#[test]
fn templates_that_hostfactory_sends_along_are_ignored() {
    parse_input::<TemplatesInput>(r#"{"templates":[{"templateId":"t"}]}"#).expect("legal");
}

#[test]
fn a_machine_id_of_null_counts_as_absent() {
    let input: ReturnInput = parse_input(r#"{"machines":[{"name":"n","machineId":null}]}"#).expect("legal");
    assert_eq!(input.machines[0].machine_id, None);
}

#[test]
fn any_text_is_a_name() {
    for name in ["", "../../x", "a/b", "\u{0}", "ü", &"n".repeat(300)] {
        let raw = serde_json::json!({ "machines": [{ "name": name }] }).to_string();
        assert_eq!(parse_input::<ReturnInput>(&raw).expect("legal").machines[0].name, name);
    }
}

#[test]
fn a_wrong_entry_is_named_by_its_place() {
    let message = refused::<StatusInput>("{\"requests\":[{\"requestId\":\"a\"},\n {\"requestId\":17}]}");
    assert!(message.starts_with("requests[1].requestId: invalid type: integer `17`, expected a string"), "{message}");
    assert!(message.contains("(line 2, column 16)"), "{message}");
    let missing = refused::<ReturnInput>(r#"{"machines":[{}]}"#);
    assert!(missing.starts_with("machines[0]: missing field `name`"), "{missing}");
    assert!(missing.ends_with(r#"expected {"machines":[{"name":"NAME"}]}"#), "{missing}");
    let text = refused::<ReturnInput>(r#"{"machines":"all"}"#);
    assert!(text.starts_with(r#"machines: invalid type: string "all", expected a list of objects"#), "{text}");
}

#[test]
fn values_are_not_taken_by_position() {
    assert!(refused::<StatusInput>(r#"{"requests":[["r"]]}"#).contains("expected an object"));
    assert!(refused::<RequestMachinesInput>(r#"{"template":["t",1]}"#).contains("expected an object"));
    assert!(refused::<RequestMachinesInput>(r#"[{"templateId":"t","machineCount":1}]"#).contains("is a list"));
}

#[test]
fn what_is_no_object_or_no_json_is_said_so() {
    for (raw, words) in [
        ("[]", "the document is a list, not an object"),
        ("null", "the document is null, not an object"),
        ("\n\n 5", "the document is a number, not an object (line 3, column 2)"),
        ("\"x\"", "the document is a string, not an object"),
        ("true", "the document is a boolean, not an object"),
        ("", "EOF while parsing a value"),
        ("{", "EOF while parsing an object"),
        ("hello", "expected value (line 1, column 1)"),
        ("{} {}", "trailing characters (line 1, column 4)"),
        ("{\n  \"requests\": [,]}", "requests[0]: expected value (line 2, column 16)"),
    ] {
        let message = refused::<StatusInput>(raw);
        assert!(message.contains(words), "{raw:?} -> {message}");
    }
}

#[test]
fn nesting_without_end_is_refused_and_brackets_in_strings_do_not_nest() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let raw = format!(r#"{{"requests":{}1{}}}"#, open.repeat(100_000), close.repeat(100_000));
        assert!(refused::<StatusInput>(&raw).contains("nest deeper than 64 levels (line 1, column "));
    }
    let text = format!(r#"{{"requests":[{{"requestId":"{}\"["}}]}}"#, "[{".repeat(1000));
    parse_input::<StatusInput>(&text).expect("brackets in a string are text");
}

#[test]
fn a_message_about_a_value_of_20_megabytes_stays_short() {
    let long = "x".repeat(20_000_000);
    refused::<RequestMachinesInput>(&format!(r#"{{"template":"{long}"}}"#));
    assert!(count(&format!("\"{long}\"")).contains("is not a number of machines"));
    refused::<StatusInput>(&format!(r#"{{"{long}":"#));
}

#[test]
fn ten_thousand_ids_are_read() {
    let ids: Vec<_> = (0..10_000).map(|n| serde_json::json!({ "requestId": n.to_string() })).collect();
    let raw = serde_json::json!({ "requests": ids }).to_string();
    assert_eq!(parse_input::<StatusInput>(&raw).expect("legal").requests.len(), 10_000);
}

#[test]
fn a_key_is_1_to_128_printable_characters() {
    for legal in ["a", "with space", &"ü".repeat(128)] {
        assert_eq!(IdempotencyKey::try_from(legal.to_owned()).expect("legal").as_str(), legal);
    }
    for wrong in ["", "a\nb", "\u{7f}", &"k".repeat(129)] {
        let message = IdempotencyKey::try_from(wrong.to_owned()).expect_err("wrong").to_string();
        assert!(message.contains("1 to 128 printable characters"), "{message}");
    }
    serde_json::from_str::<IdempotencyKey>("\"\"").expect_err("checked on the wire too");
}
