"""Status of certificates: CRLs and OCSP, made, signed and kept."""
