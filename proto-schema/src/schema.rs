//! JSON Schemas and the OpenRPC document, generated from the types. Whoever changes a type changes these.

use std::collections::BTreeMap;

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{Call, CallVisitor, error::ErrorCode, visit_calls};

/// JSON Schemas (draft 2020-12) of every method, by file name without extension: `<method>.params` and
/// `<method>.reply`.
#[must_use]
pub fn schemas() -> BTreeMap<String, Schema> {
    let mut collector = SchemaCollector::default();
    visit_calls(&mut collector);
    collector.0
}

/// The OpenRPC document that `rpc.discover` answers.
#[must_use]
pub fn openrpc() -> Value {
    // OpenRPC builds on draft 7; its shared schemas live under `components`.
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut collector = MethodCollector { generator: settings.into_generator(), methods: Vec::new() };
    visit_calls(&mut collector);
    let MethodCollector { mut generator, methods } = collector;
    let errors: Map<String, Value> = ErrorCode::ALL
        .iter()
        .map(|code| (code.name().to_owned(), json!({ "code": code.number(), "message": code.name() })))
        .collect();
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "hfd",
            "version": "v1",
            "description": "HostFactory's five verbs and operators' questions, JSON-RPC 2.0 over HTTP on a Unix socket",
        },
        "methods": methods,
        "components": { "schemas": generator.take_definitions(true), "errors": errors },
    })
}

#[derive(Default)]
struct SchemaCollector(BTreeMap<String, Schema>);

impl CallVisitor for SchemaCollector {
    fn visit<C: Call>(&mut self) {
        let generator = || SchemaSettings::draft2020_12().into_generator();
        self.0.insert(format!("{}.params", C::METHOD), generator().into_root_schema_for::<C>());
        self.0.insert(format!("{}.reply", C::METHOD), generator().into_root_schema_for::<C::Reply>());
    }
}

struct MethodCollector {
    generator: SchemaGenerator,
    methods: Vec<Value>,
}

impl CallVisitor for MethodCollector {
    fn visit<C: Call>(&mut self) {
        let params = C::json_schema(&mut self.generator);
        let required = params.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let properties = params.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        let params_of = |(name, schema): (String, Value)| {
            let required = required.iter().any(|key| key == &Value::from(name.as_str()));
            json!({ "name": name, "required": required, "schema": schema })
        };
        let errors: Vec<Value> = ErrorCode::ALL
            .iter()
            .map(|code| json!({ "$ref": format!("#/components/errors/{}", code.name()) }))
            .collect();
        self.methods.push(json!({
            "name": C::METHOD,
            "summary": params.get("description").cloned().unwrap_or_default(),
            "paramStructure": "by-name",
            "params": properties.into_iter().map(params_of).collect::<Vec<_>>(),
            "result": { "name": "reply", "schema": self.generator.subschema_for::<C::Reply>() },
            "errors": errors,
        }));
    }
}
