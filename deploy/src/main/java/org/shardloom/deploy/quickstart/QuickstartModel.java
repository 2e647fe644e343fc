package org.shardloom.deploy.quickstart;

/**
 * The shape of a ChatGLM3-architecture model.
 *
 * @param hiddenSize width of the residual stream
 * @param layers number of transformer layers
 * @param heads number of query heads
 * @param kvChannels width of one head
 * @param kvHeads number of key and value heads ({@code multi_query_group_num})
 * @param ffnHiddenSize width of the feed-forward network, after its gate
 * @param sequenceLength the longest sequence, in tokens
 * @param paddedVocabSize rows of the embedding and of the output head
 */
public record QuickstartModel(
        int hiddenSize,
        int layers,
        int heads,
        int kvChannels,
        int kvHeads,
        int ffnHiddenSize,
        int sequenceLength,
        int paddedVocabSize) {

    /** ChatGLM3's own tokens after the SentencePiece vocabulary: from [MASK] to &lt;|observation|&gt;. */
    public static final int SPECIAL_TOKENS = 9;

    /** The size of the vocabulary is rounded up to a multiple of this. */
    static final int VOCAB_MULTIPLE = 64;

    /**
     * The quickstart's model for a tokenizer: with 426 pieces it has 5,101,824 parameters.
     *
     * @param sentencePieces size of the SentencePiece vocabulary
     * @return the model's shape
     */
    public static QuickstartModel forVocabulary(int sentencePieces) {
        return forVocabulary(sentencePieces, 800);
    }

    /**
     * The quickstart's model with another feed-forward width, which is the easiest way to grow or shrink it.
     *
     * @param sentencePieces size of the SentencePiece vocabulary
     * @param ffnHiddenSize width of the feed-forward network; every unit of it adds 4,608 parameters
     * @return the model's shape
     */
    public static QuickstartModel forVocabulary(int sentencePieces, int ffnHiddenSize) {
        int used = sentencePieces + SPECIAL_TOKENS;
        int padded = (used + VOCAB_MULTIPLE - 1) / VOCAB_MULTIPLE * VOCAB_MULTIPLE;
        return new QuickstartModel(256, 6, 4, 64, 2, ffnHiddenSize, 128, padded);
    }

    /**
     * Counts the model's parameters, all of them trainable.
     *
     * @return weights, biases (query, key and value only) and norms; embedding and output head are separate
     */
    public long parameterCount() {
        long hidden = hiddenSize;
        long queries = (long) heads * kvChannels;
        long qkv = queries + 2L * kvHeads * kvChannels;
        long attention = hidden * qkv + qkv + queries * hidden;
        long feedForward = hidden * 2 * ffnHiddenSize + (long) ffnHiddenSize * hidden;
        long layer = 2 * hidden + attention + feedForward;
        return 2L * paddedVocabSize * hidden + layers * layer + hidden;
    }

    /**
     * The model's {@code config.json}, with the keys of ChatGLM3-6B's.
     *
     * @return a JSON object
     */
    public String toConfigJson() {
        return """
                {
                  "_name_or_path": "shardloom/quickstart",
                  "model_type": "chatglm",
                  "architectures": [
                    "ChatGLMModel"
                  ],
                  "auto_map": {
                    "AutoConfig": "configuration_chatglm.ChatGLMConfig",
                    "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration",
                    "AutoModelForCausalLM": "modeling_chatglm.ChatGLMForConditionalGeneration",
                    "AutoModelForSeq2SeqLM": "modeling_chatglm.ChatGLMForConditionalGeneration",
                    "AutoModelForSequenceClassification": "modeling_chatglm.ChatGLMForSequenceClassification"
                  },
                  "add_bias_linear": false,
                  "add_qkv_bias": true,
                  "apply_query_key_layer_scaling": true,
                  "apply_residual_connection_post_layernorm": false,
                  "attention_dropout": 0.0,
                  "attention_softmax_in_fp32": true,
                  "bias_dropout_fusion": true,
                  "ffn_hidden_size": %d,
                  "fp32_residual_connection": false,
                  "hidden_dropout": 0.0,
                  "hidden_size": %d,
                  "kv_channels": %d,
                  "layernorm_epsilon": 1e-05,
                  "multi_query_attention": true,
                  "multi_query_group_num": %d,
                  "num_attention_heads": %d,
                  "num_layers": %d,
                  "original_rope": true,
                  "padded_vocab_size": %d,
                  "post_layer_norm": true,
                  "rmsnorm": true,
                  "seq_length": %d,
                  "use_cache": true,
                  "torch_dtype": "bfloat16",
                  "transformers_version": "4.30.2",
                  "tie_word_embeddings": false,
                  "eos_token_id": 2,
                  "pad_token_id": 0
                }
                """
                .formatted(
                        ffnHiddenSize, hiddenSize, kvChannels, kvHeads, heads, layers, paddedVocabSize, sequenceLength);
    }
}
