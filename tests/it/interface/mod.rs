//! `interface.md`, section by section.

mod invocation;
mod people;
mod provider_tree;
mod request_machines;
mod request_status;
mod return_machines;
mod return_requests;
mod template_file;
mod templates;
