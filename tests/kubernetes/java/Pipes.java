import java.nio.channels.Pipe;
import java.util.ArrayList;
import java.util.List;

/** Holds so many pipes, until it is killed: Pipes COUNT. Linux counts their pages by user. */
public class Pipes {
    public static void main(String[] arguments) throws Exception {
        List<Pipe> held = new ArrayList<>();
        while (held.size() < Integer.parseInt(arguments[0])) {
            held.add(Pipe.open());
        }
        System.out.println("held " + held.size());
        Thread.sleep(Long.MAX_VALUE);
    }
}
