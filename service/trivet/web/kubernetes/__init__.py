"""The Kubernetes front end, under `/kubernetes/{cluster}`: what kubectl and client-go ask of an API server.

It reads a request in Kubernetes' own forms, calls the use cases that REST calls, and renders the result in those forms
again. The sources of truth are k8s.io/apiserver and k8s.io/apimachinery; comments name the file where it matters.
"""

from __future__ import annotations

from trivet.web.kubernetes.application import KubernetesApi
from trivet.web.kubernetes.authorize import AuthorizeRoute

__all__ = ["AuthorizeRoute", "KubernetesApi"]
