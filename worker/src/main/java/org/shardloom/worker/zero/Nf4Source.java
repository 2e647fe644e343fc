package org.shardloom.worker.zero;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.shardloom.kernels.cpu.HostBlocks;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.QuantizedOps;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;

/**
 * A model whose layers' matrices are what is left of them after NF4, as adapters over a quantised base have seen them in training. Values are
 * rounded as they are read; host memory holds the scales of one matrix.
 */
public final class Nf4Source implements TensorSource {
    private static final int PIECE = 1 << 16;
    private static final int BLOCK = QuantizedOps.BLOCK;

    private final TensorSource base;
    private final boolean doubled;
    private final Map<String, TensorInfo> tensors;
    private final Map<String, Place> places = new HashMap<>();
    /** The matrix whose scales are at hand. */
    private ParameterSpec matrix;

    private float[] absmax;

    private record Place(ParameterSpec matrix, ParameterSpec.Source source) {}

    /**
     * Over a model.
     *
     * @param units of the model; matrices of all but the first and the last are rounded
     * @param doubled whether the scales are rounded, too
     */
    public Nf4Source(TensorSource base, List<UnitSpec> units, boolean doubled) {
        this.base = base;
        this.doubled = doubled;
        for (UnitSpec unit : units.subList(1, units.size() - 1)) {
            for (ParameterSpec p : unit.parameters().values()) {
                if (!p.kind().isVector()) {
                    p.sources().forEach(s -> places.put(s.name(), new Place(p, s)));
                }
            }
        }
        Map<String, TensorInfo> all = new LinkedHashMap<>(base.tensors());
        all.replaceAll(
                (name, info) -> places.containsKey(name) ? new TensorInfo(name, WeightDtype.F32, info.shape()) : info);
        this.tensors = Collections.unmodifiableMap(all);
    }

    @Override
    public Map<String, TensorInfo> tensors() {
        return tensors;
    }

    @Override
    public synchronized void read(String name, long firstElement, FloatBuffer destination) throws IOException {
        Place place = places.get(name);
        if (place == null) {
            base.read(name, firstElement, destination);
            return;
        }
        if (matrix != place.matrix) {
            absmax = scales(place.matrix);
            matrix = place.matrix;
        }
        long at = place.source.firstRow() * matrix.columns() + firstElement;
        long end = at + destination.remaining();
        try (HostBlocks memory = new HostBlocks()) {
            long values = memory.allocate(PIECE * 4L);
            long codes = memory.allocate(PIECE / 2);
            long own = memory.allocate(PIECE * 4L / BLOCK);
            while (at < end) {
                long from = at / BLOCK * BLOCK;
                long most = Math.min(matrix.elements(), (end + BLOCK - 1) / BLOCK * BLOCK);
                int count = (int) Math.min(PIECE, most - from);
                FloatBuffer floats = HostBytes.view(values, count * 4L).asFloatBuffer();
                readMatrix(matrix, from, floats);
                NativeCpu.nf4Quantize(codes, own, values, count);
                int blocks = (count + BLOCK - 1) / BLOCK;
                HostBytes.view(own, blocks * 4L).asFloatBuffer().put(absmax, (int) (from / BLOCK), blocks);
                NativeCpu.nf4Dequantize(values, DType.F32.code, codes, own, count);
                int skipped = (int) (at - from);
                int wanted = (int) Math.min(count - skipped, end - at);
                destination.put(
                        HostBytes.view(values, count * 4L).asFloatBuffer().slice(skipped, wanted));
                at += wanted;
            }
        }
    }

    /** The scales of a matrix as they are after quantisation. */
    private float[] scales(ParameterSpec of) throws IOException {
        float[] scales = new float[(int) ((of.elements() + BLOCK - 1) / BLOCK)];
        FloatBuffer piece = FloatBuffer.allocate(PIECE);
        for (long from = 0; from < of.elements(); from += PIECE) {
            piece.clear().limit((int) Math.min(PIECE, of.elements() - from));
            readMatrix(of, from, piece);
            for (int i = 0; i < piece.limit(); i++) {
                int block = (int) ((from + i) / BLOCK);
                scales[block] = Math.max(scales[block], Math.abs(piece.get(i)));
            }
        }
        return doubled ? quantized(scales) : scales;
    }

    private static float[] quantized(float[] scales) {
        double sum = 0;
        for (float scale : scales) {
            sum += scale;
        }
        float offset = (float) (sum / scales.length);
        long bytes = scales.length * 4L;
        try (HostBlocks memory = new HostBlocks()) {
            long exact = memory.allocate(bytes);
            long codes = memory.allocate(scales.length);
            long nested = memory.allocate((scales.length / QuantizedOps.SCALES_BLOCK + 1) * 4L);
            HostBytes.view(exact, bytes).asFloatBuffer().put(scales);
            NativeCpu.absmaxQuantize(codes, nested, exact, offset, scales.length);
            NativeCpu.absmaxDequantize(exact, codes, nested, offset, scales.length);
            HostBytes.view(exact, bytes).asFloatBuffer().get(scales);
        }
        return scales;
    }

    /** Consecutive elements of a matrix, whatever tensors they are in; the buffer's position stays. */
    private void readMatrix(ParameterSpec of, long from, FloatBuffer to) throws IOException {
        FloatBuffer out = to.duplicate();
        for (ParameterSpec.Source s : of.sources()) {
            long start = s.firstRow() * of.columns();
            long end = start + s.rows() * of.columns();
            long at = from + out.position() - to.position();
            if (out.hasRemaining() && at >= start && at < end) {
                int count = (int) Math.min(out.remaining(), end - at);
                base.read(s.name(), at - start, out.duplicate().limit(out.position() + count));
                out.position(out.position() + count);
            }
        }
    }

    @Override
    public void readRaw(String name, long firstElement, ByteBuffer destination) throws IOException {
        if (places.containsKey(name)) {
            throw new UnsupportedOperationException(name + " is rounded as it is read; read it as floats");
        }
        base.readRaw(name, firstElement, destination);
    }

    @Override
    public void close() throws IOException {
        base.close();
    }

    @Override
    public String toString() {
        return base + " in NF4";
    }
}
