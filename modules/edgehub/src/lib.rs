//! The edge end of the cloud-edge link
