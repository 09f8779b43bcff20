"""The external signer of a living cluster: signs what that cluster approved, and mirrors its RenewRevocations.

A front end like the agent: it knows Kubernetes on one side and Trivet's REST API on the other, and has no rule of its
own. Reading order: `judging` (what a CertificateSigningRequest is to us), `signing`, `mirroring`; `informer` and
`work_queue` (what is to be done, and when again); `cluster` and `kubeconfig` (the API server); `runner`.
"""
