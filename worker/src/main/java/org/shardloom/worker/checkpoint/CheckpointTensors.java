package org.shardloom.worker.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;

/** The master weights of a checkpoint as fp32 tensors under the names that model files give them. */
public final class CheckpointTensors implements TensorSource {
    private final Checkpoint checkpoint;
    private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    private final Map<String, List<Place>> places = new LinkedHashMap<>();

    /** Elements of a tensor, from that one on, and where the unit has them. */
    private record Place(Interval elements, int unit, long offset) {}

    /**
     * Over an open checkpoint, which the caller closes.
     *
     * @param units that it was written with: the trained ones
     */
    public CheckpointTensors(Checkpoint checkpoint, List<UnitSpec> units) {
        this.checkpoint = checkpoint;
        for (int u = 0; u < units.size(); u++) {
            for (ParameterSpec p : units.get(u).parameters().values()) {
                for (ParameterSpec.Source s : p.sources()) {
                    tensors.put(s.name(), new TensorInfo(s.name(), WeightDtype.F32, p.shapeOf(s)));
                    long first = s.fileRow() * p.columns();
                    places.computeIfAbsent(s.name(), name -> new ArrayList<>())
                            .add(new Place(
                                    new Interval(first, first + s.rows() * p.columns()),
                                    u,
                                    p.offset() + s.firstRow() * p.columns()));
                }
            }
        }
    }

    @Override
    public Map<String, TensorInfo> tensors() {
        return Collections.unmodifiableMap(tensors);
    }

    @Override
    public void read(String name, long firstElement, FloatBuffer destination) throws IOException {
        int count = destination.remaining();
        if (firstElement < 0 || firstElement + count > info(name).elementCount()) {
            throw new IndexOutOfBoundsException(
                    "elements " + firstElement + " to " + (firstElement + count) + " of " + info(name));
        }
        Interval wanted = new Interval(firstElement, firstElement + count);
        int start = destination.position();
        for (Place place : places.get(name)) {
            Interval common = wanted.intersect(place.elements);
            if (!common.isEmpty()) {
                int at = start + Math.toIntExact(common.from() - firstElement);
                FloatBuffer part = destination.duplicate();
                part.position(at).limit(at + Math.toIntExact(common.length()));
                long from = place.offset + common.from() - place.elements.from();
                checkpoint.read(place.unit, Part.MASTER, from, part);
            }
        }
        destination.position(destination.limit());
    }

    @Override
    public void readRaw(String name, long firstElement, ByteBuffer destination) throws IOException {
        if (destination.remaining() % 4 != 0) {
            throw new IllegalArgumentException(destination.remaining() + " bytes are not whole fp32 elements");
        }
        FloatBuffer floats = FloatBuffer.allocate(destination.remaining() / 4);
        read(name, firstElement, floats);
        destination.slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(floats.flip());
        destination.position(destination.limit());
    }

    @Override
    public void close() {}

    @Override
    public String toString() {
        return "the checkpoint of step " + checkpoint.state().step();
    }
}
