//go:build tools

// Package tools names the API server, so that its module and those it needs are pinned here.
package tools

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
