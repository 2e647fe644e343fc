package org.shardloom.worker.weights;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The closed world of values a checkpoint's pickle can build. Besides these there are {@code null}, Boolean, Long,
 * BigInteger, Double, String and byte[].
 */
final class TorchValues {
    private static final int MAX_RANK = 64;
    private static final Map<String, WeightDtype> STORAGE_TYPES = Map.of(
            "FloatStorage", WeightDtype.F32,
            "HalfStorage", WeightDtype.F16,
            "BFloat16Storage", WeightDtype.BF16,
            "DoubleStorage", WeightDtype.F64,
            "LongStorage", WeightDtype.I64,
            "IntStorage", WeightDtype.I32,
            "ShortStorage", WeightDtype.I16,
            "CharStorage", WeightDtype.I8,
            "ByteStorage", WeightDtype.U8,
            "BoolStorage", WeightDtype.BOOL);

    private TorchValues() {}

    /** A dict or OrderedDict; keys are text, numbers, booleans or null. Equality is identity, so cycles are safe. */
    static final class Dict {
        final Map<Object, Object> items = new LinkedHashMap<>();

        void put(Object key, Object value) {
            if (key != null
                    && !(key instanceof String)
                    && !(key instanceof Long)
                    && !(key instanceof Boolean)
                    && !(key instanceof Double)) {
                throw new MalformedPickleException("expected a plain dict key, found " + describe(key));
            }
            items.put(key, value);
        }
    }

    /** A list or, where {@code frozen}, a tuple. Equality is identity. */
    static final class Sequence {
        final List<Object> items;
        final boolean frozen;

        Sequence(List<Object> items, boolean frozen) {
            this.items = items;
            this.frozen = frozen;
        }
    }

    /** Something a pickle may name: a function to call or the type of a storage. */
    sealed interface Global permits Callable, StorageType {}

    /** The functions that may be called; each is re-implemented here. */
    enum Callable implements Global {
        ORDERED_DICT,
        REBUILD_TENSOR,
        REBUILD_PARAMETER
    }

    /** A storage class and the dtype of its elements. */
    record StorageType(WeightDtype dtype) implements Global {}

    /** A run of elements in the archive entry {@code data/key}. */
    record Storage(String key, WeightDtype dtype, long elements) {}

    /** A strided view of a storage; offset and strides in elements. Compared by identity only. */
    record View(Storage storage, long offset, List<Long> shape, long[] strides) {}

    /** Looks a global up in the allow-list. */
    static Global global(String module, String name) {
        switch (module + " " + name) {
            case "collections OrderedDict":
                return Callable.ORDERED_DICT;
            case "torch._utils _rebuild_tensor_v2":
                return Callable.REBUILD_TENSOR;
            case "torch._utils _rebuild_parameter":
                return Callable.REBUILD_PARAMETER;
            case "torch.storage UntypedStorage", "torch UntypedStorage":
                return new StorageType(WeightDtype.U8);
            default:
                WeightDtype dtype = module.equals("torch") ? STORAGE_TYPES.get(name) : null;
                if (dtype == null) {
                    throw new MalformedPickleException("refused the global "
                            + WeightsException.quote(module + "." + name)
                            + ": only tensors, their storages and OrderedDict are allowed in a checkpoint;"
                            + " nothing was run");
                }
                return new StorageType(dtype);
        }
    }

    /** Performs a call of the pickle. */
    static Object call(Object function, Object arguments) {
        if (!(function instanceof Callable callable)) {
            throw new MalformedPickleException("expected a function to call, found " + describe(function));
        }
        List<Object> args = tuple(arguments);
        return switch (callable) {
            case ORDERED_DICT -> orderedDict(args);
            case REBUILD_TENSOR -> rebuildTensor(args);
            case REBUILD_PARAMETER -> {
                if (args.isEmpty() || !(args.get(0) instanceof View view)) {
                    throw new MalformedPickleException("expected a tensor in _rebuild_parameter");
                }
                yield view;
            }
        };
    }

    /** Resolves a persistent id: {@code ("storage", type, key, location, element count)}. */
    static Storage storage(Object persistentId) {
        List<Object> id = tuple(persistentId);
        if (id.size() == 5
                && "storage".equals(id.get(0))
                && id.get(1) instanceof StorageType type
                && id.get(2) instanceof String key
                && id.get(4) instanceof Long elements
                && elements >= 0) {
            return new Storage(key, type.dtype(), elements);
        }
        throw new MalformedPickleException("expected the persistent id of a storage");
    }

    private static Dict orderedDict(List<Object> args) {
        if (!args.isEmpty()) {
            throw new MalformedPickleException("expected OrderedDict() without arguments");
        }
        return new Dict();
    }

    private static View rebuildTensor(List<Object> args) {
        if (args.size() < 4
                || args.size() > 7
                || !(args.get(0) instanceof Storage storage)
                || !(args.get(1) instanceof Long offset)) {
            throw new MalformedPickleException("expected (storage, offset, size, stride, ...) in _rebuild_tensor_v2");
        }
        List<Long> shape = longs(args.get(2));
        List<Long> strides = longs(args.get(3));
        if (shape.size() != strides.size()) {
            throw new MalformedPickleException(
                    "expected as many strides as dimensions, found " + shape + " and " + strides);
        }
        return new View(
                storage,
                offset,
                shape,
                strides.stream().mapToLong(Long::longValue).toArray());
    }

    private static List<Object> tuple(Object value) {
        if (value instanceof Sequence sequence && sequence.frozen) {
            return sequence.items;
        }
        throw new MalformedPickleException("expected a tuple, found " + describe(value));
    }

    private static List<Long> longs(Object value) {
        List<Object> items = tuple(value);
        if (items.size() > MAX_RANK) {
            throw new MalformedPickleException("expected at most " + MAX_RANK + " dimensions, found " + items.size());
        }
        List<Long> result = new ArrayList<>();
        for (Object item : items) {
            if (!(item instanceof Long number) || number < 0) {
                throw new MalformedPickleException("expected sizes and strides of at least 0, found "
                        + (item instanceof Long ? item : describe(item)));
            }
            result.add(number);
        }
        return List.copyOf(result);
    }

    static String describe(Object value) {
        if (value == null) {
            return "None";
        }
        return value instanceof byte[] bytes
                ? "bytes " + Arrays.toString(Arrays.copyOf(bytes, Math.min(8, bytes.length)))
                : "a " + value.getClass().getSimpleName();
    }
}
