import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/**
 * Compiles Java sources and writes all classes as one archive to an open descriptor.
 *
 * Runs inside the compile sandbox: javac alone leaves a tree of files, and nobody outside may open a path in there.
 * Arguments: the archive's path, javac flags, "--", sources. Exit code 0, or 1 when the sources are wrong.
 */
public final class CompileToJar {
    private static final class Output extends SimpleJavaFileObject {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        Output(String className, Kind kind) {
            super(URI.create("mem:///" + className.replace('.', '/') + kind.extension), kind);
        }

        @Override
        public OutputStream openOutputStream() {
            bytes.reset();
            return bytes;
        }
    }

    private static final class Collector extends ForwardingJavaFileManager<JavaFileManager> {
        private final Map<String, Output> classes = new TreeMap<>();

        Collector(JavaFileManager inner) {
            super(inner);
        }

        @Override
        public JavaFileObject getJavaFileForOutput(Location location, String className, JavaFileObject.Kind kind,
                FileObject sibling) {
            return classes.computeIfAbsent(className.replace('.', '/') + kind.extension,
                    name -> new Output(className, kind));
        }
    }

    public static void main(String[] args) throws IOException {
        List<String> options = new ArrayList<>(List.of("-proc:none", "-encoding", "UTF-8"));
        List<File> sources = new ArrayList<>();
        int at = 1;
        while (!args[at].equals("--")) {
            options.add(args[at++]);
        }
        while (++at < args.length) {
            sources.add(new File(args[at]));
        }
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StandardJavaFileManager files = compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8);
        Collector collector = new Collector(files);
        PrintWriter messages = new PrintWriter(System.err, true);
        boolean isOk = compiler.getTask(messages, collector, null, options, null,
                files.getJavaFileObjectsFromFiles(sources)).call();
        if (!isOk) {
            System.exit(1);
        }
        try (ZipOutputStream jar = new ZipOutputStream(new FileOutputStream(args[0]))) {
            for (Map.Entry<String, Output> entry : collector.classes.entrySet()) {
                ZipEntry member = new ZipEntry(entry.getKey());
                member.setTime(315532800000L); // 1980: the same sources give the same archive
                jar.putNextEntry(member);
                entry.getValue().bytes.writeTo(jar);
                jar.closeEntry();
            }
        }
    }
}
