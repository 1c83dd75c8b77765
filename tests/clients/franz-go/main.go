// A thin driver for franz-go, the Go client: `driver BOOTSTRAP SCENARIO [key=value ...]`.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const timeoutSecondsDefault = "60"

// run is one run of a scenario.
type run struct {
	bootstrap string
	scenario  string
	options   map[string]string
	// deadline ends with the time that the scenario has.
	deadline context.Context
	// stop ends with SIGTERM or with the deadline.
	stop context.Context
}

var scenarios = map[string]func(*run) error{
	"metadata": metadata,
	"list":     list,
	"produce":  produce,
	"consume":  consume,
}

func main() {
	if err := drive(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func drive(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("usage: driver BOOTSTRAP SCENARIO [key=value ...]")
	}
	r := &run{bootstrap: arguments[0], scenario: arguments[1], options: map[string]string{}}
	for _, argument := range arguments[2:] {
		key, value, _ := strings.Cut(argument, "=")
		r.options[key] = value
	}
	scenario, known := scenarios[r.scenario]
	if !known {
		return fmt.Errorf("this client has no scenario %s", r.scenario)
	}
	seconds, err := strconv.ParseFloat(r.get("timeout", timeoutSecondsDefault), 64)
	if err != nil {
		return fmt.Errorf("timeout: %w", err)
	}
	deadline, cancel := context.WithTimeout(context.Background(), time.Duration(seconds*float64(time.Second)))
	defer cancel()
	stop, forget := signal.NotifyContext(deadline, syscall.SIGTERM, os.Interrupt)
	defer forget()
	r.deadline, r.stop = deadline, stop
	return scenario(r)
}

func (r *run) get(name, otherwise string) string {
	if value, there := r.options[name]; there {
		return value
	}
	return otherwise
}

func (r *run) need(name string) (string, error) {
	value, there := r.options[name]
	if !there {
		return "", fmt.Errorf("scenario %s needs %s=", r.scenario, name)
	}
	return value, nil
}

// count is the number of records wished for; without one the scenario goes on until SIGTERM.
func (r *run) count() (int, error) {
	value, there := r.options["count"]
	if !there {
		return math.MaxInt, nil
	}
	return strconv.Atoi(value)
}

// stopAsked tells SIGTERM from the deadline, which also ends the stop context.
func (r *run) stopAsked() bool {
	return r.stop.Err() != nil && r.deadline.Err() == nil
}

func (r *run) client(more ...kgo.Opt) (*kgo.Client, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(r.bootstrap, ",")...),
		kgo.ClientID("narrows-test-franz-go"),
		kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelWarn, nil)),
		kgo.AllowAutoTopicCreation(),
	}
	security := r.get("security", "PLAINTEXT")
	if strings.HasSuffix(security, "SSL") {
		config, err := r.tls()
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.DialTLSConfig(config))
	}
	if strings.HasPrefix(security, "SASL_") {
		mechanism, err := r.sasl()
		if err != nil {
			return nil, err
		}
		options = append(options, mechanism)
	}
	return kgo.NewClient(append(options, more...)...)
}

// tls is the configuration that believes the authority in cafile and shows the certificate in certfile, if one is
// given; franz-go adds the server's name.
func (r *run) tls() (*tls.Config, error) {
	file, err := r.need("cafile")
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	config := &tls.Config{RootCAs: roots}
	if certificate, there := r.options["certfile"]; there {
		key, err := r.need("keyfile")
		if err != nil {
			return nil, err
		}
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (r *run) sasl() (kgo.Opt, error) {
	username, err := r.need("username")
	if err != nil {
		return nil, err
	}
	password, err := r.need("password")
	if err != nil {
		return nil, err
	}
	switch mechanism := r.get("mechanism", "PLAIN"); mechanism {
	case "PLAIN":
		return kgo.SASL(plain.Auth{User: username, Pass: password}.AsMechanism()), nil
	case "SCRAM-SHA-256":
		return kgo.SASL(scram.Auth{User: username, Pass: password}.AsSha256Mechanism()), nil
	case "SCRAM-SHA-512":
		return kgo.SASL(scram.Auth{User: username, Pass: password}.AsSha512Mechanism()), nil
	default:
		return nil, fmt.Errorf("mechanism=%s is not supported here", mechanism)
	}
}

var output sync.Mutex

// emit prints one JSON line; os.Stdout has no buffer, so a reader sees it at once.
func emit(line any) {
	text, err := json.Marshal(line)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(text, '\n'))
}
