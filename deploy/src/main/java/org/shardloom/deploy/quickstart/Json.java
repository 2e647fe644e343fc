package org.shardloom.deploy.quickstart;

/** The little JSON that the quickstart writes. */
final class Json {

    private Json() {}

    /** Quotes a string: backslashes, quotation marks and control characters are escaped, all else is kept. */
    static String quote(String text) {
        StringBuilder quoted = new StringBuilder(text.length() + 2).append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < ' ') {
                quoted.append(String.format("\\u%04x", (int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }
}
