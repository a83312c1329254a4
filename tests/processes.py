"""Start two processes that share one estimate, over the loopback interface only."""

# The processes meet at 127.0.0.1: where there is no network, a machine's own name may not resolve.
TWO_PROCESSES = (
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--local-addr=127.0.0.1",
    "--nproc-per-node=2",
)
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"}
