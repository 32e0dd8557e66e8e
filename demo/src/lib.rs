//! What `make run` and the tests stand on: services, an issuer, an Envoy launcher.
