"""Is the environment well? Asks by the standard health protocol: health.py [ADDRESS [SERVICE]]."""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50100"
service = sys.argv[2] if len(sys.argv) > 2 else ""
try:
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status
except grpc.RpcError as error:
    sys.exit(print(f"{service or 'environment'}: {error.code().name}: {error.details()}", file=sys.stderr) or 2)
print(f"{service or 'environment'}: {health_pb2.HealthCheckResponse.ServingStatus.Name(status)}")
sys.exit(status != health_pb2.HealthCheckResponse.SERVING)
