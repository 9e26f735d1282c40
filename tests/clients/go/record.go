package main

import (
	"encoding/json"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// record is one as the test sends and gets it. encoding/json writes a []byte as Base64, and a nil one as null.
type record struct {
	Topic         string   `json:"topic"`
	Partition     *int32   `json:"partition"`
	Offset        int64    `json:"offset"`
	Timestamp     *int64   `json:"timestamp"`
	TimestampType string   `json:"timestamp_type"`
	Key           []byte   `json:"key"`
	Value         []byte   `json:"value"`
	Headers       []header `json:"headers"`
}

type header struct {
	name  string
	value []byte
}

type topicAndPart struct {
	topic     string
	partition int32
}

// partitions are places for a consumer, and a number for a producer.
type partitions struct {
	places []topicAndPart
	count  int32
}

func (p *partitions) UnmarshalJSON(text []byte) error {
	if text[0] == '[' {
		return json.Unmarshal(text, &p.places)
	}
	return json.Unmarshal(text, &p.count)
}

func (r record) toKafka() *kgo.Record {
	produced := &kgo.Record{Topic: r.Topic, Partition: -1, Key: r.Key, Value: r.Value}
	if r.Partition != nil {
		produced.Partition = *r.Partition
	}
	if r.Timestamp != nil {
		produced.Timestamp = time.UnixMilli(*r.Timestamp)
	}
	for _, header := range r.Headers {
		produced.Headers = append(produced.Headers, kgo.RecordHeader{Key: header.name, Value: header.value})
	}
	return produced
}

func fromKafka(read *kgo.Record) record {
	timestamp := read.Timestamp.UnixMilli()
	kind := "create"
	if read.Attrs.TimestampType() == 1 {
		kind = "append"
	}
	headers := []header{}
	for _, found := range read.Headers {
		headers = append(headers, header{found.Key, found.Value})
	}
	return record{
		Topic: read.Topic, Partition: &read.Partition, Offset: read.Offset, Timestamp: &timestamp, TimestampType: kind,
		Key: read.Key, Value: read.Value, Headers: headers,
	}
}

func (h header) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{h.name, h.value})
}

func (h *header) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.name, &h.value})
}

func (p *topicAndPart) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&p.topic, &p.partition})
}
