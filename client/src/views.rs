//! What people and their programs ask: tables and pages, or the daemon's own JSON.
//!
//! Nothing from the cluster reaches a terminal with control characters in it. Nothing here decides: the daemon's words
//! are shown.

mod lists;
mod pages;
mod table;
mod text;

use std::time::Instant;

use proto_schema::{
    Call,
    admin::{AcceptNamespace, Rebuild, ReturnMachines},
    query::{
        DescribeMachine, DescribeRequest, GetStatus, ListMachines, ListRequests, ListTemplates, RequestKind,
        ServingState,
    },
};
use serde_json::json;

use crate::{
    World,
    args::{Connection, Describe, Get, Kind, Output, OutputArg, Query},
    complain,
    exit::Exit,
    print,
    transport::{CallError, Client, Reply},
};

/// Asks and prints.
pub fn run(connection: &Connection, world: &World, query: &Query) -> Exit {
    let output = output_of(query);
    let outcome = connection.socket(world).and_then(|socket| {
        // A rebuild first waits until creates of an earlier life can't land any more, about a minute.
        let patience = match query {
            Query::Rebuild { .. } => connection.verb_timeout(),
            _ => connection.query_timeout(),
        };
        let asker = Asker { client: Client::new(socket), deadline: Instant::now() + patience, output };
        asker.answer(query)
    });
    let (text, exit) = match outcome {
        Ok(answer) => answer,
        Err(error) => {
            complain(&failure(&error, output));
            return Exit::from(&error);
        }
    };
    match print(text.as_bytes()) {
        Ok(()) => exit,
        Err(error) => {
            complain(&format!("hfctl: can't write the answer: {error}"));
            Exit::Internal
        }
    }
}

struct Asker {
    client: Client,
    deadline: Instant,
    output: Output,
}

impl Asker {
    fn answer(&self, query: &Query) -> Result<(String, Exit), CallError> {
        let text = match query {
            Query::Status { check, .. } => return self.status(*check),
            Query::Get(get) => self.get(get),
            Query::Describe(Describe::Request { id, .. }) => {
                self.show(&DescribeRequest { id: id.clone() }, |reply, output| match output {
                    Output::Name => format!("{}\n", text::safe(&reply.request.request_id)),
                    _ => pages::request(reply, output),
                })
            }
            Query::Describe(Describe::Machine { name, .. }) => {
                self.show(&DescribeMachine { name: name.clone() }, |reply, output| match output {
                    Output::Name => format!("{}\n", text::safe(&reply.machine.name)),
                    _ => pages::machine(reply),
                })
            }
            Query::Rebuild { .. } => self.show(&Rebuild {}, |reply, _| format!("{}\n", text::safe(&reply.message))),
            Query::Return { machines, force, .. } => {
                let call = ReturnMachines { machines: machines.clone(), force: *force };
                self.show(&call, |reply, output| match output {
                    Output::Name => format!("{}\n", text::safe(&reply.request_id)),
                    _ => format!("{}\n", text::safe(&reply.message)),
                })
            }
            Query::AcceptNamespace { uid, .. } => {
                self.show(&AcceptNamespace { uid: uid.clone() }, |reply, _| format!("{}\n", text::safe(&reply.message)))
            }
        };
        text.map(|text| (text, Exit::Done))
    }

    fn status(&self, check: bool) -> Result<(String, Exit), CallError> {
        let reply = self.client.call_raw(&GetStatus {}, self.deadline)?;
        let status = self.client.decode::<GetStatus>(&reply)?;
        let well = status.ready && status.state == ServingState::Serving;
        let exit = if check && !well { Exit::NotServing } else { Exit::Done };
        let text = match self.output {
            Output::Json => own_text(&reply),
            Output::Name => format!("{}\n", text::safe(&status.instance)),
            Output::Table | Output::Wide => pages::status(&status),
        };
        Ok((text, exit))
    }

    fn get(&self, get: &Get) -> Result<String, CallError> {
        match get {
            Get::Requests { kind, template, open, limit, .. } => {
                let kind = kind.map(|kind| match kind {
                    Kind::Machine => RequestKind::Machine,
                    Kind::Return => RequestKind::Return,
                });
                let call = ListRequests { kind, template: template.clone(), open_only: *open, limit: *limit };
                self.show(&call, lists::requests)
            }
            Get::Machines { request, template, limit, .. } => {
                let call = ListMachines { request: request.clone(), template: template.clone(), limit: *limit };
                self.show(&call, lists::machines)
            }
            Get::Templates { .. } => self.show(&ListTemplates {}, lists::templates),
        }
    }

    /// The daemon's own text for programs, a view for people.
    fn show<C: Call>(&self, call: &C, view: impl FnOnce(&C::Reply, Output) -> String) -> Result<String, CallError> {
        let reply = self.client.call_raw(call, self.deadline)?;
        match self.output {
            Output::Json => Ok(own_text(&reply)),
            output => Ok(view(&self.client.decode::<C>(&reply)?, output)),
        }
    }
}

fn own_text(reply: &Reply) -> String {
    format!("{}\n", String::from_utf8_lossy(reply.json()))
}

fn output_of(query: &Query) -> Output {
    let (Query::Status { output, .. }
    | Query::Get(Get::Requests { output, .. } | Get::Machines { output, .. } | Get::Templates { output })
    | Query::Describe(Describe::Request { output, .. } | Describe::Machine { output, .. })
    | Query::Rebuild { output, .. }
    | Query::Return { output, .. }
    | Query::AcceptNamespace { output, .. }) = query;
    let OutputArg { output } = output;
    *output
}

/// What goes to standard error: a sentence for people, an object for programs.
fn failure(error: &CallError, output: Output) -> String {
    if output != Output::Json {
        return format!("hfctl: {}", text::safe(&error.to_string()));
    }
    let (code, action) = match error {
        CallError::Rpc(error) => (error.code.name(), error.action.as_deref()),
        CallError::NoSocket { .. } | CallError::Refused { .. } => ("notRunning", None),
        CallError::Broken { .. } => ("connectionBroken", None),
        CallError::Permission { .. } => ("permission", None),
        CallError::TimedOut { .. } => ("timedOut", None),
        CallError::Protocol { .. } => ("protocol", None),
        CallError::Unusable { .. } | CallError::BadSocketPath { .. } => ("usage", None),
    };
    let message = match error {
        CallError::Rpc(error) => error.message.clone(),
        other => other.to_string(),
    };
    json!({ "error": { "code": code, "exit": Exit::from(error) as u8, "message": message, "action": action } })
        .to_string()
}
