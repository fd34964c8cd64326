"""What is not as described, and why? convergence.py [ADDRESS]; with stubs generated from proto/."""

import sys

import grpc

from env_manager.v1 import reconciler_pb2, reconciler_pb2_grpc

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50100"
try:
    with grpc.insecure_channel(address) as channel:
        stub = reconciler_pb2_grpc.ReconcilerServiceStub(channel)
        now = stub.GetConvergence(reconciler_pb2.GetConvergenceRequest(), timeout=5).convergence
except grpc.RpcError as error:
    sys.exit(print(f"{address}: {error.code().name}: {error.details()}", file=sys.stderr) or 2)
ready = sum(service.ready for service in now.services)
word = "converged" if now.converged else "not converged"
print(f"{word}: {ready} of {len(now.services)} services are ready")
for service in now.services:
    if not service.converged:
        print(f"  {service.name}: {service.phase}: {service.message}")
sys.exit(not now.converged)
