//! Enrolment and renewal over gRPC.

use std::sync::Arc;

use muster_proto::v1::enrollment_server::Enrollment;
use muster_proto::v1::{EnrollRequest, EnrollResponse, RenewRequest, RenewResponse};
use tonic::{Request, Response, Status};

use super::connection::Peer;
use super::status;
use crate::app::App;
use crate::app::enrolment::{Enrolled, Enrolment, RenewError};

pub(super) struct EnrolmentService {
    app: Arc<App>,
}

impl EnrolmentService {
    pub(super) const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl Enrollment for EnrolmentService {
    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let peer = request
            .extensions()
            .get::<Peer>()
            .ok_or_else(status::certificate_required)?;
        let remote = peer.remote.ip();
        let wanted = request.into_inner();
        let enrolment = Enrolment {
            token: wanted.token,
            certificate_request: wanted.certificate_request,
            hostname: wanted.hostname,
            agent_version: wanted.agent_version,
            protocol_min: wanted.protocol_min,
            protocol_max: wanted.protocol_max,
            peer: remote,
        };
        let enrolled = self
            .app
            .enrol(enrolment)
            .await
            .map_err(|error| status::of_enrol(&error))?;
        Ok(Response::new(to_wire(enrolled)))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let Some(Peer {
            remote,
            certificate: Some(certificate),
            ..
        }) = peer
        else {
            self.app.refusals().count(status::CERTIFICATE_REQUIRED);
            return Err(status::certificate_required());
        };
        let renewed = self
            .app
            .renew(&certificate, &request.into_inner().certificate_request)
            .await;
        if matches!(renewed, Err(RenewError::Held)) {
            self.app.hold(&certificate, remote, None).await;
        }
        let renewed = renewed.map_err(|error| status::of_renew(&error))?;
        Ok(Response::new(RenewResponse {
            certificate_chain: renewed.certificate_chain,
            trust_bundle: renewed.trust_bundle,
            generation: renewed.generation,
        }))
    }
}

fn to_wire(enrolled: Enrolled) -> EnrollResponse {
    EnrollResponse {
        agent_id: enrolled.agent.0.as_bytes().to_vec(),
        server_id: enrolled.server.0,
        certificate_chain: enrolled.certificate_chain,
        trust_bundle: enrolled.trust_bundle,
        command_keys: enrolled.command_keys,
        generation: enrolled.generation,
        token_used_up: enrolled.token_used_up,
    }
}
