#!/usr/bin/env bash
# A GKE cluster with an on-demand CPU pool for heads and GPU pools that start empty. GKE installs the
# NVIDIA driver and device plugin itself.
#
#   PROJECT=my-project ZONE=us-central1-a k8s/overlays/gke/nodepools.sh
set -euo pipefail
: "${PROJECT:?the Google Cloud project}" "${ZONE:?a zone that has the GPUs}"
cluster=${CLUSTER:-vidgen}
at=(--project "$PROJECT" --zone "$ZONE")

gcloud container clusters create "$cluster" "${at[@]}" \
  --num-nodes 1 --machine-type e2-standard-4 --release-channel regular \
  --enable-dataplane-v2 --workload-pool "$PROJECT.svc.id.goog"

pool() {  # name, then flags
  gcloud container node-pools create "$1" --cluster "$cluster" "${at[@]}" --node-labels "vidgen.dev/pool=$1" "${@:2}"
}
pool head --machine-type e2-standard-8 --num-nodes 1 --enable-autoscaling --min-nodes 1 --max-nodes 4

gpu=(--num-nodes 0 --enable-autoscaling --min-nodes 0 --max-nodes 2 --disk-size 200 --enable-gvnic)
pool a100 "${gpu[@]}" --machine-type a2-highgpu-8g \
  --accelerator type=nvidia-tesla-a100,count=8,gpu-driver-version=latest
pool a100-spot "${gpu[@]}" --spot --machine-type a2-highgpu-8g \
  --node-taints cloud.google.com/gke-spot=true:NoSchedule \
  --accelerator type=nvidia-tesla-a100,count=8,gpu-driver-version=latest
pool v100 "${gpu[@]}" --machine-type n1-standard-64 \
  --accelerator type=nvidia-tesla-v100,count=8,gpu-driver-version=latest
