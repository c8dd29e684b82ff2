//! The jsonrpsee helper: a call arrives as its type, and errors leave as theirs.
#![cfg(feature = "server")]

use jsonrpsee::RpcModule;
use proto_schema::{
    Discover,
    error::{ErrorCode, RpcError},
    hostfactory::{Accepted, RequestMachines, RequestMachinesInput},
    input::parse_input,
    schema, server,
};

fn module() -> RpcModule<&'static str> {
    let mut module = RpcModule::new("context");
    server::register(&mut module, async |call: RequestMachines, context, _| {
        let input: RequestMachinesInput = parse_input(call.input.get())
            .map_err(|error| RpcError::new(ErrorCode::InvalidInput, error.to_string()).with_action("correct it"))?;
        let message = format!("{} {} {:?}", context, input.template.machine_count, call.key.map(String::from));
        Ok(Accepted { message, request_id: "r".into() })
    })
    .expect("registered once");
    server::register(&mut module, async |_: Discover, _, _| Ok(schema::openrpc())).expect("registered once");
    module
}

async fn answer(body: &str) -> serde_json::Value {
    let (reply, _) = module().raw_json_request(body, 1).await.expect("a JSON-RPC request");
    serde_json::from_str(reply.get()).expect("a JSON-RPC reply")
}

#[tokio::test]
async fn a_call_arrives_as_its_type_by_its_own_method_name() {
    let reply = answer(
        r#"{"jsonrpc":"2.0","id":1,"method":"hf.requestMachines","params":
            {"input":{"template":{"templateId":"t","machineCount":7}},"key":"k"}}"#,
    )
    .await;
    assert_eq!(reply["result"]["message"], r#"context 7 Some("k")"#);
    assert_eq!(reply["result"]["requestId"], "r");
}

#[tokio::test]
async fn parameters_may_be_missing_where_none_are_needed() {
    let reply = answer(r#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}"#).await;
    assert_eq!(reply["result"]["openrpc"], "1.3.2");
}

#[tokio::test]
async fn parameters_by_position_or_of_a_wrong_kind_are_refused() {
    for params in ["[1]", r#"{"input":{},"key":""}"#, r#"{"deadline":1}"#, r#"{"input":{},"deadline":"soon"}"#] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"hf.requestMachines","params":{params}}}"#);
        let reply = answer(&body).await;
        assert_eq!(reply["error"]["code"], ErrorCode::InvalidParams.number(), "{params}");
        assert!(reply["error"]["message"].as_str().is_some_and(|text| text.contains("hf.requestMachines")));
    }
}

#[tokio::test]
async fn an_error_keeps_the_line_and_column_of_the_callers_document() {
    let reply = answer(
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hf.requestMachines\",\"params\":{\"input\":{\n \"template\":\n  5}}}",
    )
    .await;
    let error: RpcError = serde_json::from_value(reply["error"].clone()).expect("an error object");
    assert_eq!(error.code, ErrorCode::InvalidInput);
    assert_eq!(error.action.as_deref(), Some("correct it"));
    assert!(error.message.contains("template: invalid type: integer `5`"), "{}", error.message);
    assert!(error.message.contains("(line 3, column 3)"), "{}", error.message);
}
