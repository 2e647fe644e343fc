package org.shardloom.worker.weights;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The uncompressed entries of a ZIP or ZIP64 file and where their bytes lie.
 *
 * <p>The JDK's reader does not tell where an entry's data begins, which is all a memory-mapped reader wants to know.
 * Compressed or encrypted entries are refused, and so are archives of several disks.
 *
 * @param entries locations by entry name, in the directory's order
 */
record ZipDirectory(Map<String, Entry> entries) {
    private static final int LOCAL_SIGNATURE = 0x0403_4b50;
    private static final int CENTRAL_SIGNATURE = 0x0201_4b50;
    private static final int END_SIGNATURE = 0x0605_4b50;
    private static final int END64_SIGNATURE = 0x0606_4b50;
    private static final int LOCATOR64_SIGNATURE = 0x0706_4b50;
    private static final int LOCAL_BYTES = 30;
    private static final int CENTRAL_BYTES = 46;
    private static final int END_BYTES = 22;
    private static final int END64_BYTES = 56;
    private static final int LOCATOR64_BYTES = 20;
    private static final int MAX_DIRECTORY_BYTES = 256 << 20;
    private static final long IN_ZIP64 = 0xffff_ffffL;
    private static final int ZIP64_EXTRA = 1;

    /** Bytes [offset, offset + size) of the file; {@code crc32} is the checksum the archive declares for them. */
    record Entry(long offset, long size, int crc32) {}

    /** Where the central directory lies. */
    private record Central(long offset, long size, long count) {}

    static ZipDirectory read(MappedFile file) throws WeightsException {
        Central central = findCentral(file);
        if (central.offset < 0
                || central.size < 0
                || central.offset > file.size() - central.size
                || central.size > MAX_DIRECTORY_BYTES
                || central.count < 0
                || central.count > central.size / CENTRAL_BYTES) {
            throw damaged(file, "its central directory (" + central + ") does not fit the file");
        }
        ByteBuffer directory = file.bytes(central.offset, (int) central.size);
        Map<String, Entry> entries = new LinkedHashMap<>();
        for (long i = 0; i < central.count; i++) {
            readEntry(file, directory, central.offset, entries);
        }
        return new ZipDirectory(entries);
    }

    private static Central findCentral(MappedFile file) throws WeightsException {
        int tailBytes = (int) Math.min(file.size(), END_BYTES + 0xffff);
        long tailBegin = file.size() - tailBytes;
        ByteBuffer tail = file.bytes(tailBegin, tailBytes);
        for (int at = tailBytes - END_BYTES; at >= 0; at--) {
            int commentBytes = tailBytes - END_BYTES - at;
            if (tail.getInt(at) == END_SIGNATURE && u16(tail, at + 20) == commentBytes) {
                Central central64 = findCentral64(file, tailBegin + at - LOCATOR64_BYTES);
                if (central64 != null) {
                    return central64;
                }
                if (u16(tail, at + 4) != 0 || u16(tail, at + 6) != 0) {
                    throw damaged(file, "it is spread over several disks");
                }
                return new Central(u32(tail, at + 16), u32(tail, at + 12), u16(tail, at + 10));
            }
        }
        throw damaged(file, "it has no end of central directory; the file is truncated");
    }

    private static Central findCentral64(MappedFile file, long locatorAt) throws WeightsException {
        if (locatorAt < 0) {
            return null;
        }
        ByteBuffer locator = file.bytes(locatorAt, LOCATOR64_BYTES);
        if (locator.getInt(0) != LOCATOR64_SIGNATURE) {
            return null;
        }
        long endAt = locator.getLong(8);
        if (endAt < 0 || endAt > locatorAt - END64_BYTES) {
            throw damaged(file, "its ZIP64 locator points to " + endAt);
        }
        ByteBuffer end = file.bytes(endAt, END64_BYTES);
        if (end.getInt(0) != END64_SIGNATURE) {
            throw damaged(file, "it has no ZIP64 end of central directory at " + endAt);
        }
        return new Central(end.getLong(48), end.getLong(40), end.getLong(32));
    }

    private static void readEntry(MappedFile file, ByteBuffer directory, long dataEnd, Map<String, Entry> entries)
            throws WeightsException {
        int at = directory.position();
        if (directory.remaining() < CENTRAL_BYTES || directory.getInt(at) != CENTRAL_SIGNATURE) {
            throw damaged(file, "its central directory ends early");
        }
        int nameBytes = u16(directory, at + 28);
        int extraBytes = u16(directory, at + 30);
        int next = at + CENTRAL_BYTES + nameBytes + extraBytes + u16(directory, at + 32);
        if (next > directory.limit()) {
            throw damaged(file, "its central directory ends early");
        }
        String name = text(directory, at + CENTRAL_BYTES, nameBytes);
        long packed = u32(directory, at + 20);
        long size = u32(directory, at + 24);
        long localAt = u32(directory, at + 42);
        ByteBuffer extra = zip64Extra(directory, at + CENTRAL_BYTES + nameBytes, extraBytes);
        size = size == IN_ZIP64 ? takeLong(file, name, extra) : size;
        packed = packed == IN_ZIP64 ? takeLong(file, name, extra) : packed;
        localAt = localAt == IN_ZIP64 ? takeLong(file, name, extra) : localAt;
        boolean encrypted = (u16(directory, at + 8) & 1) != 0;
        if (encrypted || u16(directory, at + 10) != 0 || packed != size) {
            throw damaged(file, "its entry " + WeightsException.quote(name) + " is compressed or encrypted");
        }
        long dataAt = dataOffset(file, name, nameBytes, localAt, dataEnd);
        if (size < 0 || size > dataEnd - dataAt) {
            throw damaged(file, "its entry " + WeightsException.quote(name) + " does not fit the file");
        }
        if (entries.put(name, new Entry(dataAt, size, directory.getInt(at + 16))) != null) {
            throw damaged(file, "it has two entries " + WeightsException.quote(name));
        }
        directory.position(next);
    }

    /** Follows a directory entry to its local header, whose own name and extra field come before the data. */
    private static long dataOffset(MappedFile file, String name, int nameBytes, long localAt, long dataEnd)
            throws WeightsException {
        if (localAt >= 0 && localAt <= dataEnd - LOCAL_BYTES - nameBytes) {
            ByteBuffer local = file.bytes(localAt, LOCAL_BYTES + nameBytes);
            long dataAt = localAt + LOCAL_BYTES + nameBytes + u16(local, 28);
            if (local.getInt(0) == LOCAL_SIGNATURE
                    && u16(local, 26) == nameBytes
                    && text(local, LOCAL_BYTES, nameBytes).equals(name)
                    && dataAt <= dataEnd) {
                return dataAt;
            }
        }
        throw damaged(file, "its entry " + WeightsException.quote(name) + " has no local header at " + localAt);
    }

    /** Returns the ZIP64 extra field positioned at its first value; empty where there is none. */
    private static ByteBuffer zip64Extra(ByteBuffer directory, int begin, int length) {
        int at = begin;
        while (begin + length - at >= 4) {
            int size = u16(directory, at + 2);
            int end = at + 4 + size;
            if (u16(directory, at) == ZIP64_EXTRA && end <= begin + length) {
                return directory.slice(at + 4, size).order(directory.order());
            }
            at = end;
        }
        return ByteBuffer.allocate(0);
    }

    private static long takeLong(MappedFile file, String name, ByteBuffer extra) throws WeightsException {
        if (extra.remaining() < Long.BYTES) {
            throw damaged(file, "its entry " + WeightsException.quote(name) + " lacks a ZIP64 field");
        }
        return extra.getLong();
    }

    private static String text(ByteBuffer buffer, int at, int length) {
        byte[] bytes = new byte[length];
        buffer.get(at, bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static int u16(ByteBuffer buffer, int at) {
        return Short.toUnsignedInt(buffer.getShort(at));
    }

    private static long u32(ByteBuffer buffer, int at) {
        return Integer.toUnsignedLong(buffer.getInt(at));
    }

    private static WeightsException damaged(MappedFile file, String problem) {
        return WeightsException.in(file.path(), "expected a readable zip archive, but " + problem);
    }
}
