//! Every call that `proto/` describes, made without its types: a new one is called without a word here.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use bytes::{Buf, BufMut};
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// What rules for callers elsewhere let through, by name. Everything else changes or tells too much.
pub const READERS: &[&str] = &["GetHealth", "GetConvergence", "WatchConvergence", "GetQueueMetrics", "GetMetrics"];

pub struct Rpc {
    pub name: String,
    /// `/package.Service/Name`
    pub path: String,
    /// Number of the request's field for the name of a service, or for several.
    service_field: Option<i32>,
}

impl Rpc {
    pub fn is_reader(&self) -> bool {
        READERS.contains(&self.name.as_str())
    }

    /// A request about a service, where it can be about one.
    pub fn about(&self, service: &str) -> Vec<u8> {
        let mut request = Vec::new();
        if let Some(field) = self.service_field {
            prost::encoding::string::encode(field.unsigned_abs(), &service.to_owned(), &mut request);
        }
        request
    }
}

/// Those of a package in an encoded `FileDescriptorSet`.
pub fn all(descriptors: &[u8], package: &str) -> Vec<Rpc> {
    let set = prost_types::FileDescriptorSet::decode(descriptors).expect("a set of descriptors");
    let mut all = Vec::new();
    for file in set.file.iter().filter(|file| file.package() == package) {
        for service in &file.service {
            let service_name = format!("{}.{}", file.package(), service.name());
            for method in &service.method {
                let input = method.input_type().rsplit('.').next().unwrap_or_default();
                let fields = file.message_type.iter().filter(|m| m.name() == input).flat_map(|m| &m.field);
                let mut of_services = fields.filter(|f| matches!(f.name(), "service_name" | "service_names"));
                all.push(Rpc {
                    name: method.name().to_owned(),
                    path: format!("/{service_name}/{}", method.name()),
                    service_field: of_services.next().map(prost_types::FieldDescriptorProto::number),
                });
            }
        }
    }
    all
}

/// The first message of the answer, encoded; `None` where it ends without one.
pub async fn call(channel: &Channel, path: &str, request: Vec<u8>) -> Result<Option<Vec<u8>>, Status> {
    let mut client = Grpc::new(channel.clone()).max_decoding_message_size(16 << 20);
    client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let path = PathAndQuery::try_from(path).expect("a path");
    // An answer of one message is a stream of one.
    client.server_streaming(Request::new(request), path, Raw).await?.into_inner().message().await
}

/// Messages as they are on the wire.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}
