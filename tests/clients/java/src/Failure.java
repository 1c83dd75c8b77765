/** A scenario that did not do what it promises; the text is the sentence that goes to stderr. */
final class Failure extends Exception {
    Failure(String sentence) {
        super(sentence);
    }

    static void unless(boolean holds, String sentence) throws Failure {
        if (!holds) {
            throw new Failure(sentence);
        }
    }

    static void unlessEqual(Object expected, Object actual, String what) throws Failure {
        unless(expected.equals(actual), what + " should be " + expected + " but is " + actual);
    }
}
