package org.shardloom.kernels.collective.nccl;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.kernels.cuda.DeviceIdentity;

/** What the ranks of a group tell each other before NCCL connects them; all come to the same conclusion. */
final class Roll {
    private static final String KEY = "nccl";
    private static final Path BOOT = Path.of("/proc/sys/kernel/random/boot_id");

    private Roll() {}

    /**
     * One rank's entry.
     *
     * @param problem why it cannot take part, or empty
     * @param version of its NCCL
     * @param host the same for all processes of one, however they are contained
     * @param uuid of its GPU
     * @param pciBusId of its GPU
     * @param id NCCL's unique id; empty but for rank 0
     */
    record Entry(String problem, String version, String host, String uuid, String pciBusId, byte[] id) {

        byte[] bytes() {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            try (DataOutputStream out = new DataOutputStream(bytes)) {
                for (String text : new String[] {problem, version, host, uuid, pciBusId}) {
                    out.writeUTF(text);
                }
                out.writeInt(id.length);
                out.write(id);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            return bytes.toByteArray();
        }

        static Entry of(byte[] bytes) {
            try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes))) {
                return new Entry(
                        in.readUTF(),
                        in.readUTF(),
                        in.readUTF(),
                        in.readUTF(),
                        in.readUTF(),
                        in.readNBytes(in.readInt()));
            } catch (IOException e) {
                throw new CollectiveException("a rank's entry for NCCL is not legible", e);
            }
        }
    }

    /**
     * Meets the others.
     *
     * @return NCCL's unique id
     * @throws CollectiveException where a rank cannot take part, versions differ, or two ranks have one GPU
     */
    static byte[] call(Rendezvous rendezvous, NcclLibrary.Found library, DeviceIdentity device, byte[] id) {
        String problem = library.problem() == null ? "" : library.problem();
        Entry own = new Entry(problem, library.version(), host(), device.uuid(), device.pciBusId(), id);
        List<Entry> entries = new ArrayList<>();
        for (byte[] offer : rendezvous.exchange(KEY, own.bytes())) {
            entries.add(Entry.of(offer));
        }
        check(entries);
        return entries.get(0).id();
    }

    private static void check(List<Entry> entries) {
        for (int r = 0; r < entries.size(); r++) {
            if (!entries.get(r).problem().isEmpty()) {
                throw new CollectiveException(
                        "rank " + r + ": " + entries.get(r).problem());
            }
        }
        for (int r = 1; r < entries.size(); r++) {
            Entry entry = entries.get(r);
            if (!entry.version().equals(entries.get(0).version())) {
                throw new CollectiveException("rank 0 has NCCL %s, rank %d has %s: all need the same"
                        .formatted(entries.get(0).version(), r, entry.version()));
            }
            for (int earlier = 0; earlier < r; earlier++) {
                if (sameDevice(entries.get(earlier), entry)) {
                    throw new CollectiveException(
                            "ranks %d and %d are both on GPU %s at %s: every worker needs a GPU of its own"
                                    .formatted(earlier, r, entry.uuid(), entry.pciBusId()));
                }
            }
        }
    }

    private static boolean sameDevice(Entry a, Entry b) {
        return a.host().equals(b.host())
                && a.uuid().equals(b.uuid())
                && a.pciBusId().equals(b.pciBusId());
    }

    private static String host() {
        try {
            return Files.readString(BOOT).strip();
        } catch (IOException e) {
            return "";
        }
    }
}
