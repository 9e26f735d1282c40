package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

type options struct {
	Bootstrap       string `json:"bootstrap"`
	ClientID        string `json:"client_id"`
	Acks            string `json:"acks"`
	Codec           string `json:"codec"`
	Idempotent      *bool  `json:"idempotent"`
	TransactionalID string `json:"transactional_id"`
	LingerMs        int64  `json:"linger_ms"`
	BatchBytes      int32  `json:"batch_bytes"`
	RecordBytesMax  int32  `json:"record_bytes_max"`
	BackOffMs       int64  `json:"back_off_ms"`
	Group           string `json:"group"`
	Isolation       string `json:"isolation"`
	Reset           string `json:"reset"`
	Sasl            *login `json:"sasl"`
	TLS             *known `json:"tls"`
}

// known is what the client knows of TLS: files in PEM form, and the newest version that it speaks.
type known struct {
	CA         string `json:"ca"`
	Identity   string `json:"identity"`
	VersionMax string `json:"version_max"`
}

type login struct {
	Mechanism string `json:"mechanism"`
	User      string `json:"user"`
	Password  string `json:"password"`
	TokenFile string `json:"token_file"`
}

func (o options) client() ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(strings.Split(o.Bootstrap, ",")...)}
	if o.ClientID != "" {
		opts = append(opts, kgo.ClientID(o.ClientID))
	}
	if o.Sasl != nil {
		mechanism, err := o.Sasl.mechanism()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(mechanism))
	}
	if o.TLS != nil {
		config, err := o.TLS.config()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(config))
	}
	return opts, nil
}

func (k known) config() (*tls.Config, error) {
	ca, err := os.ReadFile(k.CA)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("no certificate in %s", k.CA)
	}
	if k.Identity != "" {
		identity, err := tls.LoadX509KeyPair(k.Identity, k.Identity)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{identity}
	}
	if k.VersionMax == "1.2" {
		config.MaxVersion = tls.VersionTLS12
	}
	return config, nil
}

func (o options) consumer() ([]kgo.Opt, error) {
	opts, err := o.client()
	if err != nil {
		return nil, err
	}
	reset := kgo.NewOffset().AtStart()
	if o.Reset == "latest" {
		reset = kgo.NewOffset().AtEnd()
	}
	// For this long a fetch may wait for more; the default of 5 s would make every reading test slow.
	opts = append(opts, kgo.ConsumeResetOffset(reset), kgo.FetchMaxWait(500*time.Millisecond))
	if o.Isolation == "read_committed" {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	return opts, nil
}

func (o options) producer() ([]kgo.Opt, error) {
	opts, err := o.client()
	if err != nil {
		return nil, err
	}
	// The test's word on partitions; without one, franz-go's own choice by key.
	opts = append(opts, kgo.RecordPartitioner(statedPartitioner{kgo.StickyKeyPartitioner(nil)}))
	switch o.Acks {
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	default:
		if o.Idempotent != nil && !*o.Idempotent {
			opts = append(opts, kgo.DisableIdempotentWrite())
		}
	}
	if o.Codec != "" {
		codec, known := codecs[o.Codec]
		if !known {
			return nil, fmt.Errorf("no codec %q", o.Codec)
		}
		opts = append(opts, kgo.ProducerBatchCompression(codec))
	}
	if o.TransactionalID != "" {
		opts = append(opts, kgo.TransactionalID(o.TransactionalID))
	}
	if o.LingerMs > 0 {
		opts = append(opts, kgo.ProducerLinger(time.Duration(o.LingerMs)*time.Millisecond))
	}
	if o.BackOffMs > 0 {
		// A refused batch is not sent again before the client has looked for new metadata.
		opts = append(opts, kgo.MetadataMinAge(time.Duration(o.BackOffMs)*time.Millisecond))
		opts = append(opts, kgo.RetryBackoffFn(func(int) time.Duration { return time.Duration(o.BackOffMs) * time.Millisecond }))
	}
	if o.BatchBytes > 0 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(o.BatchBytes))
	}
	if o.RecordBytesMax > 0 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(o.RecordBytesMax), kgo.BrokerMaxWriteBytes(o.RecordBytesMax+1<<20))
	}
	return opts, nil
}

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func (l login) mechanism() (sasl.Mechanism, error) {
	switch l.Mechanism {
	case "PLAIN":
		return plain.Auth{User: l.User, Pass: l.Password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: l.User, Pass: l.Password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: l.User, Pass: l.Password}.AsSha512Mechanism(), nil
	case "OAUTHBEARER":
		if l.TokenFile != "" {
			return oauth.Oauth(l.tokenOfFile), nil
		}
		return oauth.Oauth(l.unsecuredToken), nil
	}
	return nil, fmt.Errorf("no SASL mechanism %q", l.Mechanism)
}

func (l login) tokenOfFile(context.Context) (oauth.Auth, error) {
	token, err := os.ReadFile(l.TokenFile)
	return oauth.Auth{Token: string(token)}, err
}

// unsecuredToken makes a JSON web token that nobody has signed, good for an hour: RFC 7519 section 6.
func (l login) unsecuredToken(context.Context) (oauth.Auth, error) {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{"sub": l.User, "iat": now, "exp": now + 3600})
	if err != nil {
		return oauth.Auth{}, err
	}
	encode := base64.RawURLEncoding.EncodeToString
	return oauth.Auth{Token: encode([]byte(`{"alg":"none"}`)) + "." + encode(claims) + "."}, nil
}

// statedPartitioner takes the partition that a record says, if it says one.
type statedPartitioner struct{ otherwise kgo.Partitioner }

func (p statedPartitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return statedTopicPartitioner{p.otherwise.ForTopic(topic)}
}

type statedTopicPartitioner struct{ otherwise kgo.TopicPartitioner }

func (p statedTopicPartitioner) RequiresConsistency(record *kgo.Record) bool {
	return record.Partition >= 0 || p.otherwise.RequiresConsistency(record)
}

func (p statedTopicPartitioner) Partition(record *kgo.Record, partitions int) int {
	if record.Partition >= 0 {
		return int(record.Partition)
	}
	return p.otherwise.Partition(record, partitions)
}
