//! A collector that takes OTLP over gRPC.

use crate::{ExportError, OtlpSettings};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::metrics::PeriodicReader;
use tonic::transport::{Certificate, ClientTlsConfig, Uri};

/// A collector, and how its certificate is checked.
pub(crate) struct Collector<'a> {
    settings: &'a OtlpSettings,
    tls: Option<ClientTlsConfig>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(settings: &'a OtlpSettings) -> Result<Self, ExportError> {
        let endpoint = || settings.endpoint.clone();
        let uri: Uri =
            settings.endpoint.parse().map_err(|_| ExportError::Endpoint { endpoint: endpoint() })?;
        let tls = match (uri.scheme_str(), uri.authority(), &settings.ca_file) {
            (Some("http"), Some(_), _) => None,
            (Some("https"), Some(_), None) => return Err(ExportError::NoAuthority { endpoint: endpoint() }),
            (Some("https"), Some(_), Some(path)) => {
                let pem = std::fs::read(path);
                let pem = pem.map_err(|source| ExportError::File { path: path.clone(), source })?;
                Some(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
            }
            _ => return Err(ExportError::Endpoint { endpoint: endpoint() }),
        };
        Ok(Self { settings, tls })
    }

    /// Pushes metrics now and then.
    pub(crate) fn metrics(&self) -> Result<PeriodicReader<MetricExporter>, ExportError> {
        let mut exporter = MetricExporter::builder().with_tonic().with_endpoint(&self.settings.endpoint);
        if let Some(tls) = &self.tls {
            exporter = exporter.with_tls_config(tls.clone());
        }
        let exporter = exporter.build().map_err(|error| ExportError::Setup(error.to_string()))?;
        Ok(PeriodicReader::builder(exporter).with_interval(self.settings.interval).build())
    }

    /// Sends spans.
    pub(crate) fn spans(&self) -> Result<SpanExporter, ExportError> {
        let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(&self.settings.endpoint);
        if let Some(tls) = &self.tls {
            exporter = exporter.with_tls_config(tls.clone());
        }
        exporter.build().map_err(|error| ExportError::Setup(error.to_string()))
    }
}
