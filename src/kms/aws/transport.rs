//! What the SDK sends by: our own HTTP client, with its limits (HTTP-1 to HTTP-4).

use std::fmt;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient as SdkHttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use reqwest::Url;

use crate::kms::http::{HttpCall, HttpClient};

#[derive(Clone)]
pub(super) struct SdkTransport(Arc<HttpClient>);

impl SdkTransport {
    pub(super) fn new(client: HttpClient) -> Self {
        Self(Arc::new(client))
    }
}

impl fmt::Debug for SdkTransport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SdkTransport")
    }
}

impl SdkHttpClient for SdkTransport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for SdkTransport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move { send(&client, request).await })
    }
}

async fn send(client: &HttpClient, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request
        .try_into_http1x()
        .map_err(|error| ConnectorError::user(Box::new(error)))?;
    let (head, body) = request.into_parts();
    let url = Url::parse(&head.uri.to_string()).map_err(|error| ConnectorError::user(error.into()))?;
    let call = HttpCall {
        method: head.method,
        url,
        headers: head.headers,
        body: body.bytes(),
    };
    let answer = client
        .send(&call)
        .await
        .map_err(|error| ConnectorError::io(error.into()))?;
    let mut response = http::Response::new(SdkBody::from(answer.body.to_vec()));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(Box::new(error), None))
}
