package org.shardloom.worker.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Builds data sets from JSON Lines files.
 *
 * <p>With a cache directory, a data set is kept there under a key made of the files' contents, the template and its
 * tokenizer, the options and the cache's format version; it is read instead of built when all of these are the same
 * again. Several processes may build the same data set at once: one does, the others wait and read.
 */
public final class DatasetBuilder {
    private static final Logger LOG = LoggerFactory.getLogger(DatasetBuilder.class);
    private static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    private static final String NO_TEMPLATE = "none";

    private final DataOptions options;
    private final ChatTemplate template;
    private final Path cacheDirectory;

    private DatasetBuilder(DataOptions options, ChatTemplate template, Path cacheDirectory) {
        this.options = options;
        this.template = template;
        this.cacheDirectory = cacheDirectory;
    }

    /**
     * A builder for records that hold text.
     *
     * @param options how records become samples
     * @param template lays tokens out; not closed here
     */
    public static DatasetBuilder forText(DataOptions options, ChatTemplate template) {
        if (options.format() == DataFormat.PRETOKENIZED) {
            throw new IllegalArgumentException("pretokenized records need no template");
        }
        return new DatasetBuilder(options, template, null);
    }

    /**
     * A builder for pretokenized records.
     *
     * @param options with {@link DataFormat#PRETOKENIZED}
     */
    public static DatasetBuilder forTokens(DataOptions options) {
        if (options.format() != DataFormat.PRETOKENIZED) {
            throw new IllegalArgumentException(
                    "records of format " + options.format().key() + " need a template");
        }
        return new DatasetBuilder(options, null, null);
    }

    /**
     * The same with a cache.
     *
     * @param directory made if it is missing; if that is impossible the data set is built without a cache
     */
    public DatasetBuilder withCache(Path directory) {
        return new DatasetBuilder(options, template, directory);
    }

    /**
     * Reads files, in this order, into one data set.
     *
     * @param files at least one
     * @return a data set of at least one sample
     * @throws DataException if a file can't be read, a line can't be used or nothing remains; it names file and line
     */
    public Dataset build(List<Path> files) {
        if (files.isEmpty()) {
            throw new DataException("no data files are given");
        }
        List<String> digests = new ArrayList<>();
        for (Path file : files) {
            digests.add(digest(file));
        }
        Supplier<Dataset> read = () -> readAll(files, digests);
        if (cacheDirectory == null) {
            return read.get();
        }
        return new DatasetCache(cacheDirectory).get(key(digests), read);
    }

    /**
     * The first samples of a file, without a cache; fewer where it has fewer.
     *
     * @throws DataException if the file can't be read, or a line up to them can't be used; it names file and line
     */
    public List<Sample> first(Path file, int count) {
        SampleCollector collector = new SampleCollector(options.truncate());
        Problems problems = new Problems();
        try (LineReader lines = new LineReader(file)) {
            for (byte[] line = lines.next(); line != null && collector.size() < count; line = lines.next()) {
                read(file, lines.number(), line, collector, problems);
            }
        } catch (IOException e) {
            throw unreadable(file, e);
        }
        problems.throwIfAny();
        Dataset dataset = collector.finish();
        return IntStream.range(0, Math.min(count, dataset.size()))
                .mapToObj(dataset::sample)
                .toList();
    }

    /** The cache's key: SHA-256 over everything that determines the samples. */
    private byte[] key(List<String> digests) {
        MessageDigest digest = LineReader.newDigest();
        String text = String.join(
                "\n",
                "format " + DatasetCache.FORMAT_VERSION,
                "options " + options.cacheKey(),
                "template " + (template == null ? NO_TEMPLATE : template.fingerprint()),
                "files " + String.join(" ", digests));
        return digest.digest(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String digest(Path file) {
        if (!Files.exists(file)) {
            throw new DataException("data file " + file + " does not exist");
        }
        if (!Files.isRegularFile(file)) {
            throw new DataException("data file " + file + " is no ordinary file");
        }
        try {
            return LineReader.digest(file);
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    private Dataset readAll(List<Path> files, List<String> digests) {
        SampleCollector collector = new SampleCollector(options.truncate());
        Problems problems = new Problems();
        for (int i = 0; i < files.size(); i++) {
            Path file = files.get(i);
            String digest = read(file, collector, problems);
            if (!digest.equals(digests.get(i))) {
                throw new DataException("data file " + file + " changed while it was read");
            }
        }
        problems.throwIfAny();
        Dataset dataset = collector.finish();
        if (dataset.size() == 0) {
            throw new DataException("no sample remains of " + files + ": "
                    + dataset.summary().skippedTooLong() + " are too long and "
                    + dataset.summary().skippedWithoutTarget()
                    + " have nothing to learn; raise data.max_length (" + options.maxLength() + ")"
                    + (options.truncate() ? "" : " or set data.truncate: true"));
        }
        LOG.info("read {}: {}", files, dataset.summary().describe());
        return dataset;
    }

    private String read(Path file, SampleCollector collector, Problems problems) {
        boolean any = false;
        try (LineReader lines = new LineReader(file)) {
            for (byte[] line = lines.next(); line != null; line = lines.next()) {
                any |= read(file, lines.number(), line, collector, problems);
            }
            if (!any) {
                throw new DataException("data file " + file + " is empty");
            }
            return lines.digest();
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    /** Takes the samples of a line; false if there is nothing on it. */
    private boolean read(Path file, long number, byte[] line, SampleCollector collector, Problems problems) {
        try {
            String text = LineReader.text(line);
            if (text.isBlank()) {
                return false;
            }
            for (Sample sample : samples(record(text))) {
                collector.add(checked(sample));
            }
        } catch (MalformedRecordException e) {
            problems.add(file, number, e.getMessage());
        }
        return true;
    }

    private static JsonNode record(String text) throws MalformedRecordException {
        JsonNode record;
        try {
            record = JSON.readTree(text);
        } catch (JsonProcessingException e) {
            int column = e.getLocation() == null ? 0 : e.getLocation().getColumnNr();
            String reason =
                    Optional.ofNullable(e.getOriginalMessage()).orElse("").split("\n")[0];
            String array =
                    text.strip().startsWith("[") ? "; a file must have one JSON object a line, not one array" : "";
            throw new MalformedRecordException("not valid JSON at column " + column + ": " + reason + array);
        }
        if (!record.isObject()) {
            throw new MalformedRecordException("the line is no JSON object; write one object a line"
                    + " (`jq -c '.[]'` makes such a file of an array)");
        }
        return record;
    }

    private List<Sample> samples(JsonNode record) throws MalformedRecordException {
        if (options.format() != DataFormat.PRETOKENIZED) {
            List<Message> conversation = RecordParser.conversation(options.format(), record, template.hasTools());
            return template.samples(conversation, options.maxLength(), options.maxSourceLength());
        }
        Sample sample = RecordParser.pretokenized(record);
        int length = options.maxLength();
        return List.of(
                sample.length() <= length
                        ? sample
                        : new Sample(
                                Arrays.copyOf(sample.inputIds(), length),
                                Arrays.copyOf(sample.labels(), length),
                                true));
    }

    private Sample checked(Sample sample) throws MalformedRecordException {
        int limit = options.modelVocabularySize() == 0 ? Integer.MAX_VALUE : options.modelVocabularySize();
        for (int i = 0; i < sample.length(); i++) {
            int id = sample.inputIds()[i];
            if (id < 0 || id >= limit) {
                throw outside("token id " + id + " at position " + i);
            }
            int label = sample.labels()[i];
            if (label != Sample.IGNORED && (label < 0 || label >= limit)) {
                throw outside("label " + label + " at position " + i);
            }
        }
        return sample;
    }

    private MalformedRecordException outside(String what) {
        String vocabulary = options.modelVocabularySize() == 0
                ? " is negative"
                : " is outside the model's vocabulary of " + options.modelVocabularySize();
        return new MalformedRecordException(
                what + vocabulary + (template == null ? "" : "; is this the model's own tokenizer?"));
    }

    private static DataException unreadable(Path file, IOException e) {
        return new DataException("can't read data file " + file + ": " + e, e);
    }
}
