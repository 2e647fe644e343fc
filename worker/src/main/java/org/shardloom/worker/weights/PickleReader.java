package org.shardloom.worker.weights;

import java.math.BigInteger;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * An interpreter for the part of the pickle language that PyTorch checkpoints use.
 *
 * <p>It only ever builds the values of {@link TorchValues}; any global outside its allow-list and any other opcode ends
 * the reading. It does not recurse. Stack, marks and memo are each limited to {@value #MAX_ENTRIES} entries, all
 * containers and what they hold to {@value #MAX_CONTENTS} together, and lengths are checked against the bytes at hand
 * before anything is allocated.
 */
final class PickleReader {
    private static final int MAX_ENTRIES = 1_000_000;
    private static final int MAX_CONTENTS = 2_000_000;
    private static final int MAX_PROTOCOL = 5;
    private static final int MAX_GLOBAL_BYTES = 1000;

    private final ByteBuffer in;
    private final ArrayList<Object> stack = new ArrayList<>();
    private final ArrayList<Integer> marks = new ArrayList<>();
    private final Map<Long, Object> memo = new HashMap<>();
    private int contents;

    private PickleReader(byte[] pickle) {
        this.in = ByteBuffer.wrap(pickle).order(ByteOrder.LITTLE_ENDIAN);
    }

    /**
     * Interprets one pickle.
     *
     * @return the value it describes
     * @throws MalformedPickleException naming the position, if the pickle is damaged or not allowed
     */
    static Object read(byte[] pickle) {
        PickleReader reader = new PickleReader(pickle);
        int at = 0;
        try {
            while (true) {
                at = reader.in.position();
                int opcode = reader.in.get() & 0xff;
                if (opcode == '.') {
                    return reader.pop();
                }
                reader.execute(opcode);
            }
        } catch (BufferUnderflowException e) {
            throw new MalformedPickleException("the pickle ends in the middle of an instruction at byte " + at);
        } catch (MalformedPickleException e) {
            throw new MalformedPickleException("pickle instruction at byte " + at + ": " + e.getMessage());
        }
    }

    private void execute(int opcode) {
        switch (opcode) {
            case 0x80 -> checkProtocol(in.get() & 0xff);
            case 0x95 -> in.getLong(); // FRAME: only a hint for buffered readers
            case '(' -> {
                checkLimit(marks.size(), "marks");
                marks.add(stack.size());
            }
            case '0' -> pop();
            case '1' -> popMark();
            case '2' -> push(top());
            case 'N' -> push(null);
            case 0x88 -> push(true);
            case 0x89 -> push(false);
            case 'J' -> push((long) in.getInt());
            case 'K' -> push((long) (in.get() & 0xff));
            case 'M' -> push((long) (in.getShort() & 0xffff));
            case 0x8a -> push(bigNumber(bytes(in.get() & 0xff)));
            case 'G' -> push(Double.longBitsToDouble(Long.reverseBytes(in.getLong())));
            case 'X' -> push(text(u32(), StandardCharsets.UTF_8));
            case 0x8c -> push(text(in.get() & 0xff, StandardCharsets.UTF_8));
            case 0x8d -> push(text(in.getLong(), StandardCharsets.UTF_8));
            case 'T' -> push(text(u32(), StandardCharsets.ISO_8859_1));
            case 'U' -> push(text(in.get() & 0xff, StandardCharsets.ISO_8859_1));
            case 'B' -> push(bytes(u32()));
            case 'C' -> push(bytes(in.get() & 0xff));
            case '}' -> push(container(new TorchValues.Dict()));
            case ']' -> push(container(new TorchValues.Sequence(new ArrayList<>(0), false)));
            case ')' -> pushTuple(new Object[0]);
            case 0x85 -> pushTuple(popMany(1));
            case 0x86 -> pushTuple(popMany(2));
            case 0x87 -> pushTuple(popMany(3));
            case 't' -> pushTuple(popMark());
            case 'a' -> append(popMany(1));
            case 'e' -> append(popMark());
            case 's' -> setItems(popMany(2));
            case 'u' -> setItems(popMark());
            case 'q' -> memoize(in.get() & 0xff);
            case 'r' -> memoize(u32());
            case 0x94 -> memoize(memo.size());
            case 'h' -> recall(in.get() & 0xff);
            case 'j' -> recall(u32());
            case 'c' -> push(TorchValues.global(line(), line()));
            case 0x93 -> stackGlobal();
            case 'R' -> reduce();
            case 'b' -> build();
            case 'Q' -> push(container(TorchValues.storage(pop())));
            case 'i' -> {
                TorchValues.global(line(), line());
                throw new MalformedPickleException("unsupported opcode INST");
            }
            default -> throw new MalformedPickleException(
                    "unsupported opcode 0x" + Integer.toHexString(opcode) + " in a checkpoint");
        }
    }

    private static void checkProtocol(int protocol) {
        if (protocol > MAX_PROTOCOL) {
            throw new MalformedPickleException("expected protocol 0 to " + MAX_PROTOCOL + ", found " + protocol);
        }
    }

    private void stackGlobal() {
        Object[] names = popMany(2);
        if (!(names[0] instanceof String module) || !(names[1] instanceof String name)) {
            throw new MalformedPickleException("expected the names of a global");
        }
        push(TorchValues.global(module, name));
    }

    private void reduce() {
        Object[] call = popMany(2);
        push(container(TorchValues.call(call[0], call[1])));
    }

    /** Sets attributes of an object. State dicts carry some (version numbers); no tensor depends on them. */
    private void build() {
        pop();
        if (!(top() instanceof TorchValues.Dict)) {
            throw new MalformedPickleException(
                    "expected attributes only on an OrderedDict, found " + TorchValues.describe(top()));
        }
    }

    private void append(Object[] values) {
        if (!(top() instanceof TorchValues.Sequence list) || list.frozen) {
            throw new MalformedPickleException("expected a list to append to");
        }
        countContents(values.length);
        list.items.addAll(Arrays.asList(values));
    }

    private void setItems(Object[] keysAndValues) {
        if (!(top() instanceof TorchValues.Dict dict) || keysAndValues.length % 2 != 0) {
            throw new MalformedPickleException("expected a dict and pairs to put in");
        }
        countContents(keysAndValues.length);
        for (int i = 0; i < keysAndValues.length; i += 2) {
            dict.put(keysAndValues[i], keysAndValues[i + 1]);
        }
    }

    private void pushTuple(Object[] items) {
        countContents(items.length);
        push(container(new TorchValues.Sequence(Arrays.asList(items), true)));
    }

    private void memoize(long key) {
        checkLimit(memo.size(), "memo entries");
        memo.put(key, top());
    }

    private void recall(long key) {
        if (!memo.containsKey(key)) {
            throw new MalformedPickleException("expected memo entry " + key + ", found none");
        }
        push(memo.get(key));
    }

    private void push(Object value) {
        checkLimit(stack.size(), "stack entries");
        stack.add(value);
    }

    private Object pop() {
        return popMany(1)[0];
    }

    private Object top() {
        if (stack.size() <= floor()) {
            throw new MalformedPickleException("the stack is empty");
        }
        return stack.get(stack.size() - 1);
    }

    private Object[] popMany(int count) {
        int begin = stack.size() - count;
        if (begin < floor()) {
            throw new MalformedPickleException("the stack is empty");
        }
        return takeFrom(begin);
    }

    private Object[] popMark() {
        if (marks.isEmpty()) {
            throw new MalformedPickleException("expected a mark on the stack, found none");
        }
        return takeFrom(marks.remove(marks.size() - 1));
    }

    private Object[] takeFrom(int begin) {
        List<Object> tail = stack.subList(begin, stack.size());
        Object[] values = tail.toArray();
        tail.clear();
        return values;
    }

    private int floor() {
        return marks.isEmpty() ? 0 : marks.get(marks.size() - 1);
    }

    private <T> T container(T value) {
        countContents(1);
        return value;
    }

    private void countContents(int count) {
        contents += count;
        if (contents > MAX_CONTENTS) {
            throw new MalformedPickleException("more than " + MAX_CONTENTS + " containers and items in them");
        }
    }

    private static void checkLimit(int present, String what) {
        if (present >= MAX_ENTRIES) {
            throw new MalformedPickleException("more than " + MAX_ENTRIES + " " + what);
        }
    }

    private long u32() {
        return Integer.toUnsignedLong(in.getInt());
    }

    private byte[] bytes(long length) {
        if (length < 0 || length > in.remaining()) {
            throw new BufferUnderflowException();
        }
        byte[] bytes = new byte[(int) length];
        in.get(bytes);
        return bytes;
    }

    private String text(long length, Charset charset) {
        return new String(bytes(length), charset);
    }

    private String line() {
        int begin = in.position();
        for (int length = 0; length <= MAX_GLOBAL_BYTES; length++) {
            if (in.get() == '\n') {
                return new String(in.array(), begin, length, StandardCharsets.UTF_8);
            }
        }
        throw new MalformedPickleException("a global has a name of more than " + MAX_GLOBAL_BYTES + " bytes");
    }

    private static Object bigNumber(byte[] littleEndian) {
        byte[] bigEndian = new byte[littleEndian.length];
        for (int i = 0; i < bigEndian.length; i++) {
            bigEndian[i] = littleEndian[bigEndian.length - 1 - i];
        }
        BigInteger number = bigEndian.length == 0 ? BigInteger.ZERO : new BigInteger(bigEndian);
        return number.bitLength() < Long.SIZE ? (Object) number.longValue() : number;
    }
}
