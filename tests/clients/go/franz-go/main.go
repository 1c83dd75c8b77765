// A thin driver for franz-go.
package main

import (
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"narrows.tests/clients/driver"
)

func main() {
	driver.Main(map[string]func(*driver.Run) error{
		"metadata":    metadata,
		"list":        list,
		"produce":     produce,
		"consume":     consume,
		"transaction": transaction,
		"share":       share,
		"admin":       admin,
	})
}

func connect(r *driver.Run, more ...kgo.Opt) (*kgo.Client, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(r.Bootstrap...),
		kgo.ClientID("narrows-test-franz-go"),
		kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelWarn, nil)),
		kgo.AllowAutoTopicCreation(),
	}
	config, err := r.TLS()
	if err != nil {
		return nil, err
	}
	if config != nil {
		options = append(options, kgo.DialTLSConfig(config))
	}
	login, err := r.Login()
	if err != nil {
		return nil, err
	}
	if login != nil {
		mechanism, err := sasl(login)
		if err != nil {
			return nil, err
		}
		options = append(options, mechanism)
	}
	return kgo.NewClient(append(options, more...)...)
}

func sasl(login *driver.Login) (kgo.Opt, error) {
	credentials := scram.Auth{User: login.Username, Pass: login.Password}
	switch login.Mechanism {
	case "PLAIN":
		return kgo.SASL(plain.Auth{User: login.Username, Pass: login.Password}.AsMechanism()), nil
	case "SCRAM-SHA-256":
		return kgo.SASL(credentials.AsSha256Mechanism()), nil
	case "SCRAM-SHA-512":
		return kgo.SASL(credentials.AsSha512Mechanism()), nil
	default:
		return nil, login.Unsupported()
	}
}
