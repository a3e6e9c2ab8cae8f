//! Resource paths, operations, message ids and bytes of the cloud-edge link
