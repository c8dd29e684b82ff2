//! How single values of the domain are stored in columns, and read back or refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hfd_core::{
    id::{PodUid, RequestId, TemplateId},
    machine::VerdictKind,
    request::{ContentHash, Key, Origin},
};
use rusqlite::{
    Result, Row, RowIndex, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef},
};

/// An address: 4 or 16 bytes in network order.
pub(super) struct Address(pub(super) IpAddr);

impl ToSql for Address {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let bytes = match self.0 {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        Ok(ToSqlOutput::Owned(Value::Blob(bytes)))
    }
}

impl FromSql for Address {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
            return Ok(Self(Ipv4Addr::from(octets).into()));
        }
        match <[u8; 16]>::try_from(bytes) {
            Ok(octets) => Ok(Self(Ipv6Addr::from(octets).into())),
            Err(_) => Err(FromSqlError::InvalidBlobSize { expected_size: 16, blob_size: bytes.len() }),
        }
    }
}

/// The kind of a verdict, by number; the numbers are part of the schema.
pub(super) struct Kind(pub(super) VerdictKind);

impl ToSql for Kind {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let number: i64 = match self.0 {
            VerdictKind::Failed => 0,
            VerdictKind::Overdue => 1,
            VerdictKind::Lost => 2,
        };
        Ok(number.into())
    }
}

impl FromSql for Kind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self(VerdictKind::Failed)),
            1 => Ok(Self(VerdictKind::Overdue)),
            2 => Ok(Self(VerdictKind::Lost)),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

/// The id of a template.
pub(super) struct Template(pub(super) TemplateId);

impl FromSql for Template {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
    }
}

/// The manifest's hash as stored: nothing for an adopted request, which has none.
pub(super) fn stored_manifest(hash: &ContentHash) -> Option<&ContentHash> {
    (*hash != ContentHash::default()).then_some(hash)
}

pub(super) const fn stored_origin(origin: Origin) -> bool {
    matches!(origin, Origin::Adopted)
}

pub(super) const fn origin(adopted: bool) -> Origin {
    if adopted { Origin::Adopted } else { Origin::Accepted }
}

pub(super) fn request_id(row: &Row<'_>, column: impl RowIndex) -> Result<RequestId> {
    row.get(column).map(RequestId::from_random)
}

pub(super) fn optional_request_id(row: &Row<'_>, column: impl RowIndex) -> Result<Option<RequestId>> {
    Ok(row.get::<_, Option<_>>(column)?.map(RequestId::from_random))
}

pub(super) fn optional_uid(row: &Row<'_>, column: impl RowIndex) -> Result<Option<PodUid>> {
    Ok(row.get::<_, Option<_>>(column)?.map(PodUid::from_bytes))
}

pub(super) fn optional_address(row: &Row<'_>, column: impl RowIndex) -> Result<Option<IpAddr>> {
    Ok(row.get::<_, Option<Address>>(column)?.map(|address| address.0))
}

pub(super) fn key(row: &Row<'_>) -> Result<Option<Key>> {
    let Some(text) = row.get("key")? else { return Ok(None) };
    Ok(Some(Key { text, body: row.get("key_body")? }))
}
