import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Scanner;

/** Moves the bodies of a file (name, mass, position, velocity) by gravity; steps and step size come on standard input. */
public class NBody {
    private record Start(String name, double mass, double[] position, double[] velocity) {
        static Start of(String line) {
            String[] words = line.trim().split("\\s+");
            double[] numbers = new double[7];
            for (int i = 0; i < 7; i++) {
                numbers[i] = Double.parseDouble(words[i + 1]);
            }
            return new Start(words[0], numbers[0], new double[] {numbers[1], numbers[2], numbers[3]},
                    new double[] {numbers[4], numbers[5], numbers[6]});
        }
    }

    private static double energy(List<Start> bodies) {
        double sum = 0;
        for (int i = 0; i < bodies.size(); i++) {
            Start a = bodies.get(i);
            sum += 0.5 * a.mass * (square(a.velocity));
            for (int j = i + 1; j < bodies.size(); j++) {
                sum -= a.mass * bodies.get(j).mass / Math.sqrt(square(minus(a.position, bodies.get(j).position)));
            }
        }
        return sum;
    }

    private static double square(double[] v) {
        return v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
    }

    private static double[] minus(double[] a, double[] b) {
        return new double[] {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
    }

    private static void step(List<Start> bodies, double dt) {
        for (int i = 0; i < bodies.size(); i++) {
            for (int j = i + 1; j < bodies.size(); j++) {
                Start a = bodies.get(i);
                Start b = bodies.get(j);
                double[] d = minus(a.position, b.position);
                double distance2 = square(d);
                double pull = dt / (distance2 * Math.sqrt(distance2));
                for (int k = 0; k < 3; k++) {
                    a.velocity[k] -= d[k] * b.mass * pull;
                    b.velocity[k] += d[k] * a.mass * pull;
                }
            }
        }
        for (Start body : bodies) {
            for (int k = 0; k < 3; k++) {
                body.position[k] += dt * body.velocity[k];
            }
        }
    }

    public static void main(String[] args) throws IOException {
        List<Start> bodies = Files.readAllLines(Path.of(args[0])).stream()
                .filter(line -> !line.isBlank() && !line.startsWith("#")).map(Start::of).toList();
        Scanner in = new Scanner(System.in);
        int steps = in.nextInt();
        double dt = Double.parseDouble(in.next());
        System.out.printf("energy before %.9f%n", energy(bodies));
        for (int i = 0; i < steps; i++) {
            step(bodies, dt);
        }
        System.out.printf("energy after  %.9f%n", energy(bodies));
        for (Start body : bodies) {
            System.out.printf("%-8s %9.4f %9.4f %9.4f%n", body.name, body.position[0], body.position[1], body.position[2]);
        }
    }
}
