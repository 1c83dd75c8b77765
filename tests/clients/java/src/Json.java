import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;

/** JSON lines on stdout, flushed one by one so that a reader sees each as it happens. */
final class Json {
    /** Prints one object from key, value, key, value ... */
    static void emit(Object... keysAndValues) {
        String line = text(object(keysAndValues));
        synchronized (System.out) {
            System.out.println(line);
            System.out.flush();
        }
    }

    static Map<String, Object> object(Object... keysAndValues) {
        Map<String, Object> object = new LinkedHashMap<>();
        for (int i = 0; i < keysAndValues.length; i += 2) {
            object.put((String) keysAndValues[i], keysAndValues[i + 1]);
        }
        return object;
    }

    private static String text(Object value) {
        if (value == null || value instanceof Number || value instanceof Boolean) {
            return String.valueOf(value);
        }
        if (value instanceof Map) {
            StringBuilder text = new StringBuilder();
            ((Map<?, ?>) value).forEach((key, entry) ->
                    text.append(text.length() == 0 ? "" : ",").append(quoted(String.valueOf(key))).append(':').append(text(entry)));
            return "{" + text + "}";
        }
        if (value instanceof Collection) {
            StringBuilder text = new StringBuilder();
            ((Collection<?>) value).forEach(entry -> text.append(text.length() == 0 ? "" : ",").append(text(entry)));
            return "[" + text + "]";
        }
        return quoted(String.valueOf(value));
    }

    private static String quoted(String value) {
        StringBuilder text = new StringBuilder("\"");
        for (char c : value.toCharArray()) {
            switch (c) {
                case '"': text.append("\\\""); break;
                case '\\': text.append("\\\\"); break;
                default: text.append(c < ' ' ? String.format("\\u%04x", (int) c) : String.valueOf(c));
            }
        }
        return text.append('"').toString();
    }

    private Json() {}
}
