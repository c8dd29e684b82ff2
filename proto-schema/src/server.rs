//! Puts a [`Call`] on a jsonrpsee module by its own method name.
//!
//! jsonrpsee's macro wants method names as literals at the trait; this helper takes them from the type instead, so
//! that the name stands in one place.

use std::sync::Arc;

use jsonrpsee::{
    Extensions, RpcModule,
    core::RegisterMethodError,
    types::{ErrorObjectOwned, Params},
};
use serde::Serialize;

use crate::{
    Call,
    error::{ErrorCode, RpcError},
    input::clip,
};

/// Registers `handler` for `C`. Parameters that are missing count as `{}`, and those that don't fit are answered
/// without calling the handler.
///
/// # Errors
/// When the method is registered already.
pub fn register<C, Ctx, Handler, Answer>(
    module: &mut RpcModule<Ctx>,
    handler: Handler,
) -> Result<(), RegisterMethodError>
where
    C: Call + Send,
    C::Reply: Clone + Send + 'static,
    Ctx: Send + Sync + 'static,
    Handler: Fn(C, Arc<Ctx>, Extensions) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Result<C::Reply, RpcError>> + Send,
{
    register_as::<C, C::Reply, Ctx, Handler, Answer>(module, handler)
}

/// As [`register`], for a handler whose `Payload` is not the reply itself but something that becomes it on its way out.
///
/// # Errors
/// When the method is registered already.
pub fn register_as<C, Payload, Ctx, Handler, Answer>(
    module: &mut RpcModule<Ctx>,
    handler: Handler,
) -> Result<(), RegisterMethodError>
where
    C: Call + Send,
    Payload: Serialize + Clone + Send + 'static,
    Ctx: Send + Sync + 'static,
    Handler: Fn(C, Arc<Ctx>, Extensions) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Result<Payload, RpcError>> + Send,
{
    module.register_async_method(C::METHOD, move |params, context, extensions| {
        let answer = parse_params::<C>(&params).map(|call| handler(call, context, extensions));
        async move { answer?.await.map_err(ErrorObjectOwned::from) }
    })?;
    Ok(())
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        Self::owned(error.code.number(), error.message.clone(), Some(error.data()))
    }
}

fn parse_params<C: Call>(params: &Params<'_>) -> Result<C, ErrorObjectOwned> {
    let text = params.as_str().unwrap_or("{}");
    if !text.trim_start().starts_with('{') {
        let message = format!("parameters of {} go by name: {} is not an object", C::METHOD, clip(text));
        return Err(RpcError::new(ErrorCode::InvalidParams, message).into());
    }
    serde_json::from_str(text).map_err(|error| {
        let message = format!("parameters of {}: {}", C::METHOD, clip(&error.to_string()));
        RpcError::new(ErrorCode::InvalidParams, message).into()
    })
}
