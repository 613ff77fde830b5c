#!/usr/bin/env bash
# An AKS cluster with an on-demand CPU pool for heads and A100 pools that start empty.
#
#   GROUP=my-group LOCATION=eastus k8s/overlays/aks/nodepools.sh
#
# Azure retired its V100 sizes in 2025-09. NVIDIA's device plugin, once per cluster:
#   helm repo add nvdp https://nvidia.github.io/k8s-device-plugin
#   helm install nvdp nvdp/nvidia-device-plugin --version 0.17.4 -n nvidia-device-plugin --create-namespace \
#     --set 'tolerations[0].operator=Exists'
set -euo pipefail
: "${GROUP:?the resource group}" "${LOCATION:?a region that has the GPUs}"
cluster=${CLUSTER:-vidgen}

az group create --name "$GROUP" --location "$LOCATION"
az aks create --resource-group "$GROUP" --name "$cluster" --node-count 1 --node-vm-size Standard_D4s_v5 \
  --network-plugin azure --network-plugin-mode overlay --network-dataplane cilium \
  --enable-oidc-issuer --enable-workload-identity --generate-ssh-keys

pool() {  # name, then flags
  az aks nodepool add --resource-group "$GROUP" --cluster-name "$cluster" --name "$1" \
    --enable-cluster-autoscaler "${@:2}"
}
pool head --node-vm-size Standard_D8s_v5 --node-count 1 --min-count 1 --max-count 4 --labels vidgen.dev/pool=head

gpu=(--node-vm-size Standard_NC96ads_A100_v4 --node-count 0 --min-count 0 --max-count 2 --node-osdisk-size 256)
pool a100 "${gpu[@]}" --labels vidgen.dev/pool=a100 --node-taints sku=gpu:NoSchedule
pool a100spot "${gpu[@]}" --priority Spot --eviction-policy Delete --spot-max-price -1 \
  --labels vidgen.dev/pool=a100 --node-taints sku=gpu:NoSchedule,kubernetes.azure.com/scalesetpriority=spot:NoSchedule
