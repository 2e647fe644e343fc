package org.shardloom.kernels.plan;

import java.util.List;
import org.shardloom.kernels.device.CachingAllocator;

/** Memory on paper: addresses of nothing, and as many bytes as anyone asks for. */
final class PlanMemory implements CachingAllocator.Source {
    private long next = 2 << 20;

    @Override
    public long take(long bytes) {
        long address = next;
        next += bytes;
        return address;
    }

    @Override
    public void giveBack(List<CachingAllocator.Segment> segments) {}

    @Override
    public String describe() {
        return "paper";
    }
}
